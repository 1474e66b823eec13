#pragma once
/* The source that runs a connector written for Fivetran's Connector SDK. */
#include "connectors/worker/source.h"

extern const Source source_fivetran;
