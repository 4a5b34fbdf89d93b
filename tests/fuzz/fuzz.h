/* What every fuzz target includes; CMakeLists.txt tells how to add one. */
#ifndef GATEHOUSE_TESTS_FUZZ_FUZZ_H
#define GATEHOUSE_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
