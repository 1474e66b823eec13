#pragma once
/* The source that runs a program and takes the operations that it prints. */
#include "connectors/worker/source.h"

extern const Source source_exec;
