#pragma once
/*
 * One running program of a sync (the worker or the writer) as the daemon sees it: a process, a socket of frames, and a
 * pipe with whatever it prints. It knows nothing of what the frames mean, and it never blocks.
 *
 * The struct lies in the caller's; it may go only after `released` was called.
 */
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "lib/formats/frame.h"
#include "lib/system/spawn.h"

#define PROGRAM_OUTPUT_MAX \
    ((size_t)FRAME_CONTROL_MAX + (1u << 20)) /* queued for it; past it the program is taken for stuck */
#define PROGRAM_LINE_MAX 8192                /* of what it prints; the rest of a line is dropped */
#define PROGRAM_DRAIN_MAX (16u << 20)        /* read after it has ended, in case a grandchild goes on writing */

typedef struct Program Program;

typedef struct ProgramEvents {
    void (*frame)(Program *program, const Frame *frame); /* views hold until it returns */
    void (*line)(Program *program, const char *text, size_t n);
    void (*broken)(Program *program,
                   Error *error); /* its frames are not the protocol, or it does not take ours; nothing more is read */
    void (*closed)(Program *program);   /* the socket has ended; the process perhaps not */
    void (*exited)(Program *program);   /* reaped; all frames and lines were delivered before; see how_ended */
    void (*released)(Program *program); /* after program_close(): nothing refers to PROGRAM any more */
} ProgramEvents;

struct Program {
    const char *role; /* "worker", "writer": static */
    const ProgramEvents *events;
    void *userdata;

    pid_t pid; /* 0: not started */
    bool exited;
    siginfo_t how_ended;

    /* private */
    int pidfd, control_fd, log_fd;
    uv_poll_t exit_poll, control_poll, log_poll;
    unsigned handles; /* not closed yet */
    bool closing, reading;
    int control_events; /* that the loop looks for */
    FrameReader reader;
    Buffer output;
    Buffer line;
    bool line_cut;
};

typedef struct ProgramOptions {
    uv_loop_t *loop;
    const char *role;
    const char *path;
    const char *title;              /* argv[0]: what the process list shows */
    const char *const *arguments;   /* after it; ends with NULL; NULL: none */
    const char *const *environment; /* ends with NULL; NULL: spawn()'s own */
    int operations;                 /* its end of the pipe; borrowed; -1: none */
    int cgroup;                     /* tree_cgroup_fd() */
    uint32_t payload_max;           /* of its frames */
    const ProgramEvents *events;
    void *userdata;
} ProgramOptions;

int program_start(Program *program, const ProgramOptions *options, Error *error);
void program_send(Program *program, const Frame *frame); /* queued; dropped where the program has gone */
void program_kill(Program *program);                     /* SIGKILL to the process itself; its tree is tree.h's */
void program_close(Program *program); /* after it has exited or was never started; calls released, later or at once */
/* Bytes that it has not taken yet. */
static inline size_t program_waiting(const Program *program)
{
    return buffer_length(&program->output);
}
static inline bool program_is_alive(const Program *program)
{
    return program->pid > 0 && !program->exited;
}
/* "was killed by signal 11 (SIGSEGV)", "ended with status 3". The caller frees. */
char *program_describe_end(const Program *program);
