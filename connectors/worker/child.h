#pragma once
/*
 * A program that a source runs inside of its own sandbox, in its process group. What it prints on stderr is handed on
 * to the log, and its last line remembered: that is mostly why it failed.
 */
#include <signal.h>

#include "lib/system/spawn.h"

#define CHILD_WORDS_MAX 500

typedef struct Child {
    const char *shown; /* the program, for messages; the caller's */
    Process process;
    bool running;
    int errors; /* our end of its stderr, to be polled; -1: closed */
    char words[CHILD_WORDS_MAX];
    size_t word_count;
    bool words_ended;
} Child;

void child_init(Child *child);
void child_clear(Child *child); /* after its end */
/* OPTIONS without descriptors: these are DESCRIPTORS, 0 to 2 and those that follow, as many as OPTIONS counts; its
 * stderr is filled in. */
int child_start(Child *child, const char *shown, const SpawnOptions *options, int *descriptors, Error *error);
void child_read_errors(Child *child); /* hands on what stderr has */
/* Whether it has ended; RET then says how. What lay in stderr was handed on. */
bool child_has_ended(Child *child, siginfo_t *ret);
/* Tells it and its children to end, and waits for it; kills it where it does not. */
void child_end(Child *child);
/* The error of a program that did not end well. */
int child_judge(const Child *child, const siginfo_t *end, Error *error);

size_t child_waiting_in(int fd); /* bytes in the pipe FD; 0: none, or FD is -1 */
