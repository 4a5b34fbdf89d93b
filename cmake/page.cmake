# The chat page inside the program: gateway/page/* and the official client as C arrays, in a
# file generated while building. With GATEHOUSE_PAGE=OFF the table is empty.
#
#   gatehouse_page(<target>)   adds the generated file to the target
include(${CMAKE_CURRENT_LIST_DIR}/client_bundle.cmake)
set(GATEHOUSE_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/embed_page.cmake)

function(gatehouse_page target)
  set(dir ${PROJECT_SOURCE_DIR}/gateway/page)
  set(files "")
  if(GATEHOUSE_PAGE)
    gatehouse_client_bundle(bundle)
    set(files ${dir}/index.html ${dir}/style.css ${dir}/app.js ${dir}/icon.svg ${bundle})
  endif()
  set(out ${CMAKE_CURRENT_BINARY_DIR}/page_files.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} "-DFILES=${files}" -P ${GATEHOUSE_EMBED_SCRIPT}
    DEPENDS ${files} ${GATEHOUSE_EMBED_SCRIPT}
    COMMENT "Embedding the chat page" VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
