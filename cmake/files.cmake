# Files inside the program: the chat page, gateway/page/*, and the official client, whose
# tables are generated while building. With GATEHOUSE_PAGE=OFF they are empty.
#
#   gatehouse_files(<target>)   adds the generated source to the target
include(${CMAKE_CURRENT_LIST_DIR}/client_bundle.cmake)
set(GATEHOUSE_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed_files.cmake)

function(gatehouse_files target)
  set(dir ${PROJECT_SOURCE_DIR}/gateway/page)
  set(page "")
  set(client "")
  if(GATEHOUSE_PAGE)
    gatehouse_client_bundle(client)
    set(page ${dir}/index.html ${dir}/style.css ${dir}/app.js ${dir}/icon.svg)
  endif()
  set(out ${CMAKE_CURRENT_BINARY_DIR}/embedded_files.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} "-DPAGE=${page}" "-DCLIENT=${client}"
      -DCLIENT_VERSION=${GATEHOUSE_CLIENT_VERSION} -P ${GATEHOUSE_EMBED_SCRIPT}
    DEPENDS ${page} ${client} ${GATEHOUSE_EMBED_SCRIPT}
    COMMENT "Embedding the chat page and the client" VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
