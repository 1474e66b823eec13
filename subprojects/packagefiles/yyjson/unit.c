/* What is compiled: yyjson whole, but nothing for clang's static analyzer, which is there for our code and would spend
 * minutes on this. */
#ifndef __clang_analyzer__
#include "yyjson.c"
#endif
