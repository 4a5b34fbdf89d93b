# The libraries Gatehouse is built on, as Debian 12 and 13 ship them.
#
#   what           why                              licence        Debian 12 / 13
#   libwebsockets  HTTP, WebSocket, TLS             MIT            libwebsockets-dev + libwebsockets-evlib-uv
#   OpenSSL        certificates (lws does the TLS)  Apache-2.0     libssl-dev (3.0 / 3.5)
#   libuv          the event loop                   MIT            libuv1-dev
#   hiredis        reads and formats RESP           BSD-3-Clause   libhiredis-dev
#   msgpack-c      packs MessagePack                BSL-1.0        libmsgpack-dev / libmsgpack-c-dev
#   libyaml        reads the configuration file     MIT            libyaml-dev
#   libjwt         verifies JSON Web Tokens         MPL-2.0        libjwt-dev (1.10 / 1.17)
#   zlib           compresses polled bodies         Zlib           zlib1g-dev
find_package(PkgConfig REQUIRED)

function(gatehouse_pkg target module)
  pkg_check_modules(${target} REQUIRED IMPORTED_TARGET ${module})
  get_target_property(dirs PkgConfig::${target} INTERFACE_INCLUDE_DIRECTORIES)
  if(dirs)
    set_target_properties(PkgConfig::${target} PROPERTIES
      INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${dirs}")
  endif()
endfunction()

gatehouse_pkg(UV libuv)
gatehouse_pkg(HIREDIS hiredis)
gatehouse_pkg(LWS libwebsockets)
gatehouse_pkg(OPENSSL openssl)
gatehouse_pkg(YAML yaml-0.1)
gatehouse_pkg(JWT libjwt)
gatehouse_pkg(ZLIB zlib)

# Debian 12 names msgpack-c's CMake package and target otherwise than Debian 13,
# whose .pc file is broken; so the CMake configuration is used on both.
find_package(msgpack-c QUIET CONFIG)
if(msgpack-c_FOUND)
  add_library(gatehouse_msgpack INTERFACE)
  target_link_libraries(gatehouse_msgpack INTERFACE msgpack-c)
else()
  find_package(msgpack REQUIRED CONFIG)
  add_library(gatehouse_msgpack INTERFACE)
  target_link_libraries(gatehouse_msgpack INTERFACE msgpackc)
endif()
