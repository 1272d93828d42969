// Standard output belongs to the conversation with the interpreter, so messages go to standard error.
#pragma once

#include <stdio.h>

#define MicroPrintf(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr))
