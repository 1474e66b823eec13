#pragma once
/*
 * Where deployed connectors lie in the state folder, and how they leave it. NAME is a connection's, known to be a good
 * one. Paths are new texts.
 */
#include <stdbool.h>

#include "daemon/wherryd/manager.h"

#define DEPLOYED_CONFIGURATION "configuration.json"
#define DEPLOYED_SETTINGS "deployed.json"

char *deployed_path(const Manager *manager, const char *below);
char *deployed_project_path(const Manager *manager, const char *name, const char *below);
char *deployed_pipeline_path(const Manager *manager, const char *name);
bool deployed_is(const Manager *manager, const char *name);
/* The file in the configuration folder that has NAME; NULL: none. */
char *deployed_written_path(const Manager *manager, const char *name);
/* The one that it was deployed to; NULL: unknown. */
char *deployed_destination(const Manager *manager, const char *name);

/* PATH with CONTENT, whole and on disk, or as it was before. */
int deployed_replace_file(const char *path, const char *content, Error *error);
int deployed_replace_json(const char *path, const json_t *object, Error *error);
/* Deleting many files takes a while: not on the loop's thread. */
void deployed_remove_later(const Manager *manager, char *path /* taken over */);

/* It is deployed again: what was to go stays. */
void deployed_unmark(const Manager *manager, const char *name);
/* Deletes what was undeployed, unless it is deployed again, or being so, or a sync still runs in it. */
void deployed_sweep(const Manager *manager, const char *name);
void deployed_sweep_all(const Manager *manager);
