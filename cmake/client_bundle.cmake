# The official Socket.IO client as browsers load it: what the reference server serves of the
# npm package's dist/, fetched when the build is configured and never committed.
#
#   gatehouse_client_bundle(<variable>)   sets the paths of the files
#
# The package is pinned by its sha512, the same that package-lock.json files hold in base64
# as `integrity`; so it does not matter which registry, mirror or file it comes from. To move
# to another version: tests/package.json too, so that browsers and the tests use one.
set(GATEHOUSE_CLIENT_VERSION 4.8.4)
set(GATEHOUSE_CLIENT_SHA512
  ef08ca02f55760e26c6e65209166e784f0f86c5a64aab511d3ef973a3a46166a83aaca95d4223ddd54eb69e1312f1a63c44aab5a016849166ed628632d67e400)
set(GATEHOUSE_CLIENT_FILES
  socket.io.js socket.io.js.map socket.io.min.js socket.io.min.js.map
  socket.io.esm.min.js socket.io.esm.min.js.map
  socket.io.msgpack.min.js socket.io.msgpack.min.js.map)
set(GATEHOUSE_CLIENT_TARBALL "" CACHE FILEPATH
  "socket.io-client-${GATEHOUSE_CLIENT_VERSION}.tgz for machines without npm or network")

function(gatehouse_client_bundle variable)
  set(dir ${CMAKE_BINARY_DIR}/client)
  set(name socket.io-client-${GATEHOUSE_CLIENT_VERSION}.tgz)
  set(otherwise "  To use a file: put ${name} into ${dir},\n"
    "    or cmake -DGATEHOUSE_CLIENT_TARBALL=/path/to/${name} …\n"
    "    `npm pack socket.io-client@${GATEHOUSE_CLIENT_VERSION}` makes it, on any machine.\n"
    "  To build without the client and the chat page: cmake -DGATEHOUSE_PAGE=OFF …")
  string(CONCAT otherwise ${otherwise})

  if(GATEHOUSE_CLIENT_TARBALL)
    set(tarball ${GATEHOUSE_CLIENT_TARBALL})
    if(NOT EXISTS ${tarball})
      message(FATAL_ERROR "GATEHOUSE_CLIENT_TARBALL: there is no file ${tarball}.\n${otherwise}")
    endif()
  else()
    set(tarball ${dir}/${name})
    gatehouse_client_pack(${dir} ${tarball} "${otherwise}")
  endif()

  file(SHA512 ${tarball} sum)
  if(NOT sum STREQUAL GATEHOUSE_CLIENT_SHA512)
    if(NOT GATEHOUSE_CLIENT_TARBALL)
      file(REMOVE ${tarball}) # so that the next try fetches it again
    endif()
    message(FATAL_ERROR "${tarball} is not the pinned socket.io-client@${GATEHOUSE_CLIENT_VERSION}:\n"
      "  its sha512 is   ${sum}\n  and should be   ${GATEHOUSE_CLIENT_SHA512}\n${otherwise}")
  endif()

  list(TRANSFORM GATEHOUSE_CLIENT_FILES PREPEND ${dir}/${sum}/package/dist/ OUTPUT_VARIABLE files)
  foreach(file ${files})
    if(NOT EXISTS ${file})
      file(ARCHIVE_EXTRACT INPUT ${tarball} DESTINATION ${dir}/${sum}
        PATTERNS package/dist/socket.io.* package/LICENSE)
    endif()
  endforeach()
  set(${variable} ${files} PARENT_SCOPE)
endfunction()

# Let npm fetch the tarball, unless an earlier run of CMake left it. npm's cache answers
# first, so that a second build directory needs no network.
function(gatehouse_client_pack dir tarball otherwise)
  if(EXISTS ${tarball})
    return()
  endif()
  find_program(GATEHOUSE_NPM npm)
  if(NOT GATEHOUSE_NPM)
    message(FATAL_ERROR "Browsers and the chat page need socket.io-client@${GATEHOUSE_CLIENT_VERSION}, "
      "and npm, which fetches it, is not installed.\n${otherwise}")
  endif()
  message(STATUS "Fetching socket.io-client@${GATEHOUSE_CLIENT_VERSION} with npm")
  file(MAKE_DIRECTORY ${dir})
  # Without a network npm would wait for more than a minute between its tries.
  execute_process(
    COMMAND ${GATEHOUSE_NPM} pack --prefer-offline --pack-destination ${dir}
            --fetch-retries 2 --fetch-retry-mintimeout 1000 --fetch-retry-maxtimeout 5000
            socket.io-client@${GATEHOUSE_CLIENT_VERSION}
    WORKING_DIRECTORY ${dir}
    RESULT_VARIABLE result OUTPUT_QUIET ERROR_VARIABLE errors TIMEOUT 120)
  if(NOT result EQUAL 0 OR NOT EXISTS ${tarball})
    file(WRITE ${dir}/npm.log "${errors}")
    # One line that says what it was; npm says much more.
    if(NOT errors MATCHES "(request to [^\n]*|getaddrinfo [^\n]*|E[0-9][0-9][0-9] [^\n]*)")
      string(REGEX MATCH "[^\n]+" CMAKE_MATCH_1 "${errors}\nnpm ended with ${result}")
    endif()
    execute_process(COMMAND ${GATEHOUSE_NPM} config get registry
      OUTPUT_VARIABLE registry ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    message(FATAL_ERROR "npm could not fetch socket.io-client@${GATEHOUSE_CLIENT_VERSION}:\n"
      "  ${CMAKE_MATCH_1}\n"
      "  All that it said: ${dir}/npm.log\n"
      "  Does npm work here? Its registry is ${registry}; behind a proxy it wants\n"
      "  HTTPS_PROXY, with a certificate authority of its own NODE_EXTRA_CA_CERTS.\n"
      "${otherwise}")
  endif()
endfunction()
