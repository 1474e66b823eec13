#pragma once
/* The source that reads data files from a folder. */
#include "connectors/worker/source.h"

extern const Source source_files;
