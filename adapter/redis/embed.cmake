# Write the Lua scripts into a C file, as strings named redis_script_<file>.
# cmake -DOUT=<file.c> -P embed.cmake <script.lua>...
# What a line `-- with <file>` names comes before the script.
set(text "/* Generated from lua/ by embed.cmake. */\n#include \"adapter/redis/scripts.h\"\n")
math(EXPR last "${CMAKE_ARGC} - 1")
foreach(i RANGE 4 ${last})
  set(path "${CMAKE_ARGV${i}}")
  get_filename_component(name "${path}" NAME_WE)
  # As bytes: a string literal has a length limit, and CMake's lists eat semicolons.
  file(READ "${path}" hex HEX)
  file(STRINGS "${path}" parts REGEX "^-- with [^ ]+[.]lua$")
  foreach(part ${parts})
    string(REGEX REPLACE "^-- with " "" part "${part}")
    get_filename_component(dir "${path}" DIRECTORY)
    file(READ "${dir}/${part}" part_hex HEX)
    string(PREPEND hex "${part_hex}")
  endforeach()
  string(REGEX REPLACE "(..)" "0x\\1, " bytes "${hex}")
  string(REPEAT "." 96 line)
  string(REGEX REPLACE "(${line})" "\\1\n\t" bytes "${bytes}")
  string(APPEND text "\nconst char redis_script_${name}[] = {\n\t${bytes}0x00};\n")
endforeach()
file(WRITE "${OUT}" "${text}")
