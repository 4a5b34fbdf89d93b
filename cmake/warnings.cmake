# Flags of every target of the project; libraries' headers come in as SYSTEM and are exempt.
add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion
  -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wvla -Wformat=2 -Wundef
  -Wcast-qual -Werror -fno-strict-aliasing -fstack-protector-strong)
if(GATEHOUSE_SANITIZE)
  add_compile_options(-fsanitize=${GATEHOUSE_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  string(REPLACE "fuzzer-no-link," "" GATEHOUSE_SANITIZE_LINK "${GATEHOUSE_SANITIZE}")
  add_link_options(-fsanitize=${GATEHOUSE_SANITIZE_LINK})
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
if(GATEHOUSE_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
