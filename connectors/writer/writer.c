/*
 * A writer's life: lock down early, greet the daemon, take BEGIN, let the destination open what the sandbox must know,
 * enter the sandbox, report the committed state, then read operations until END.
 *
 * The loop waits for two descriptors: the daemon's socket, which goes first, and the pipe. The pipe's end alone says
 * nothing good: only END does. Nor does its silence: a grandchild of the worker may hold the other end open, so on
 * WORKER_GONE what lies in the pipe at that moment is read, no byte more, and the sync is over. (Bytes that such a
 * grandchild wrote are judged like any others; the daemon has ended the worker's process tree by then.)
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <syslog.h>

#include "connectors/writer/session.h"
#include "lib/system/spawn.h"

#define DEFAULT_MAX_VALUE_SIZE (16 << 20)
#define DEFAULT_COMMIT_INTERVAL_S 1
#define LOOK_AHEAD_MAX (1 << 20) /* bytes of operations: a commit more is little beside them */
/* For the rows that wait to be coalesced: worker and writer stay below 40 MB together, whatever the size of a batch. */
#define DEFAULT_COALESCE_MEMORY (12 << 20)
#define DEFAULT_SET_ASIDE_MAX (256 << 20) /* beside the database, which grows by as much: bounded all the same */

typedef struct Begin {
    json_t *configuration; /* owned */
    const char *only_table;
    uint64_t max_value_size;
    bool changes; /* write_mode cdc */
    bool get_state;
    const json_t *set_state; /* NULL: not asked for; may be JSON null */
} Begin;

static void begin_clear(Begin *begin)
{
    json_decref(begin->configuration);
}

/* --- BEGIN --- */

static uint64_t number_of(const json_t *object, const char *key, uint64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) && json_integer_value(value) >= 0 ? (uint64_t)json_integer_value(value) : fallback;
}

static SchemaPolicy policy_of(const json_t *configuration)
{
    const char *name = json_string_value(json_object_get(configuration, "on_schema_change"));
    if (!name && json_is_true(json_object_get(configuration, "files")))
        return SCHEMA_STRICT;
    if (name && strcmp(name, "block_all") == 0)
        return SCHEMA_BLOCK_ALL;
    return name && strcmp(name, "allow_columns") == 0 ? SCHEMA_ALLOW_COLUMNS : SCHEMA_ALLOW_ALL;
}

static void receive_rules(Writer *writer, const json_t *configuration)
{
    writer->rules = (TargetRules){
        .destination = writer->destination,
        .policy = policy_of(configuration),
        .history = json_is_true(json_object_get(configuration, "history")),
        .connection = json_string_value(json_object_get(configuration, "connection")),
        .asked_as = json_string_value(json_object_get(configuration, "asked_as")),
    };
    debug_begin(writer, configuration);
    writer->drop_tables = json_object_get(configuration, "tables");
    writer->full = json_is_true(json_object_get(configuration, "full")) && !json_is_array(writer->drop_tables);
    writer->coalesce_memory = number_of(configuration, "coalesce_memory", DEFAULT_COALESCE_MEMORY);
    writer->set_aside_max = number_of(configuration, "set_aside_max", DEFAULT_SET_ASIDE_MAX);
}

static int receive_begin(Writer *writer, Begin *ret, Error *error)
{
    Frame frame;
    int r = channel_receive(&writer->control, &frame, error);
    if (r < 0)
        return -1;
    if (r == CHANNEL_E_END)
        return error_set(error, ERROR_CANCELLED, "the daemon is gone");
    if (frame.type == FRAME_CANCEL)
        return error_set(error, ERROR_CANCELLED, "cancelled");
    if (frame.type != FRAME_BEGIN)
        return error_set(error, ERROR_INTERNAL, "the daemon sent frame %s where BEGIN was due",
                         frame_type_name(frame.type));
    json_error_t where;
    ret->configuration = json_loadb(frame.begin.configuration.data, frame.begin.configuration.length, 0, &where);
    if (!json_is_object(ret->configuration))
        return error_set(error, ERROR_INTERNAL, "the configuration in BEGIN is not a JSON object: %s", where.text);
    const json_t *configuration = ret->configuration;
    if (!json_is_string(json_object_get(configuration, "connection")))
        return error_set(error, ERROR_INTERNAL, "the configuration in BEGIN names no connection");
    ret->get_state = json_is_true(json_object_get(configuration, "get_state"));
    ret->set_state = json_object_get(configuration, "set_state");
    const char *write_mode = json_string_value(json_object_get(configuration, "write_mode"));
    ret->changes = write_mode && strcmp(write_mode, "cdc") == 0;
    writer->replaces = write_mode && strcmp(write_mode, "truncate") == 0;
    ret->only_table = json_string_value(json_object_get(configuration, "dest_table"));
    ret->max_value_size = number_of(configuration, "max_value_size", DEFAULT_MAX_VALUE_SIZE);
    const char *run_id = json_string_value(json_object_get(configuration, "run_id"));
    writer->run_id = run_id ? run_id : "";
    writer->files = json_is_true(json_object_get(configuration, "files"));
    writer->plan = json_is_true(json_object_get(configuration, "plan"));
    receive_rules(writer, configuration);
    const char *schema = json_string_value(json_object_get(json_object_get(configuration, "destination"), "schema"));
    if (schema && writer->destination->schema_is_prefix)
        writer->prefix = xasprintf("%s_", schema);
    if (json_is_true(json_object_get(configuration, "log_table")))
        writer->log_table = log_table_new(writer->prefix);
    writer->commit_interval_ms = (int64_t)number_of(configuration, "commit_interval", DEFAULT_COMMIT_INTERVAL_S) * 1000;
    return 0;
}

/* --- opening --- */

static int enter_sandbox(Writer *writer, const Begin *begin, SandboxPolicy *policy, Error *error)
{
    _cleanup_(freep) uint16_t *ports = NULL;
    sandbox_configure(policy, begin->configuration, &ports);
    unsigned layers;
    if (sandbox_enter(policy, &layers, error) < 0)
        return -1;
    _cleanup_(freep) char *description = sandbox_describe(layers, policy);
    writer_log(writer, LOG_DEBUG, "sandbox: %s", description);
    return 0;
}

static int report_opened(Writer *writer, Error *error)
{
    Frame frame = { .type = FRAME_OPENED,
                    .opened = { .sequence = writer->known.sequence,
                                .epoch = writer->known.epoch,
                                .run_id = frame_text(writer->known.run_id),
                                .state = frame_text(writer->known.state) } };
    return control_send(writer, &frame, error);
}

static int open_destination(Writer *writer, const Begin *begin, Error *error)
{
    const Destination *destination = writer->destination;
    SandboxPolicy policy = { .network = SANDBOX_NETWORK_NONE };
    if (destination->open(&writer->handle, writer, begin->configuration, &policy, error) < 0 ||
        (begin->changes && !writer->plan && changes_open(writer, error) < 0))
        return -1;
    if (!writer->files && !writer->plan)
        operations_open(writer);
    if (enter_sandbox(writer, begin, &policy, error) < 0 || destination->connect(writer->handle, error) < 0 ||
        destination->read_state(writer->handle, &writer->known, error) < 0)
        return -1;
    writer->rules.handle = writer->handle;
    return report_opened(writer, error);
}

/* --- the loop --- */

/* What comes after a checkpoint that waits for its commit is part of no transaction before the next checkpoint, or END,
 * is there as well: a source that fails in between has that checkpoint, and gets on, however often it fails soon after
 * one. Where this is more than is kept here, the checkpoint waits no longer. */
static int look_ahead(Writer *writer, const FrameReader *reader, bool *ret_go_on, Error *error)
{
    const uint32_t ends = 1u << FRAME_CHECKPOINT | 1u << FRAME_END;
    *ret_go_on = !apply_waits(writer) || frame_reader_has(reader, ends, &writer->looked_ahead);
    if (!*ret_go_on && buffer_length(&reader->buffer) >= LOOK_AHEAD_MAX) {
        *ret_go_on = true;
        if (apply_settle(writer, error) < 0)
            return -1;
    }
    if (*ret_go_on)
        writer->looked_ahead = 0;
    return 0;
}

static int take_operations(Writer *writer, FrameReader *reader, Error *error)
{
    while (writer->sequence.state != SEQUENCE_ENDED) {
        Frame frame;
        bool go_on;
        if (look_ahead(writer, reader, &go_on, error) < 0)
            return -1;
        if (!go_on)
            return 0;
        int r = frame_reader_next(reader, &frame, error);
        if (r < 0)
            return error_prefix(error, "the worker broke the protocol: ");
        if (r == FRAME_E_MORE || (r = apply_operation(writer, &frame, error)) < 0)
            return r;
        if (control_check(writer, error) < 0)
            return -1;
    }
    return 0;
}

/* The worker is gone: what it left in the pipe, without waiting for more. */
static int drain(Writer *writer, Channel *pipe, Error *error)
{
    int left = 0;
    if (ioctl(pipe->fd, FIONREAD, &left) < 0)
        left = 0;
    while (left > 0 && writer->sequence.state != SEQUENCE_ENDED) {
        size_t before = buffer_length(&pipe->reader.buffer);
        int r = channel_fill(pipe, error);
        if (r != 0)
            return r < 0 ? -1 : 0;
        left -= (int)(buffer_length(&pipe->reader.buffer) - before);
        if (take_operations(writer, &pipe->reader, error) < 0 || control_take(writer, error) < 0 ||
            control_check(writer, error) < 0)
            return -1;
    }
    return 0;
}

static int wait_for_input(Writer *writer, const Channel *pipe, bool *ret_pipe, Error *error)
{
    int timeout;
    if (apply_deferred(writer, &timeout, error) < 0)
        return -1;
    /* What writer_pulse() noted during a long call waits for an answer, and will not come in again. */
    if (writer->question_count > 0 || writer->worker_gone || writer->cancelled)
        timeout = 0;
    struct pollfd pollers[] = { { .fd = writer->control.fd, .events = POLLIN }, { .fd = pipe->fd, .events = POLLIN } };
    int n = poll(pollers, ELEMENTSOF(pollers), timeout);
    if (n < 0 && errno != EINTR)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot wait for operations");
    *ret_pipe = n > 0 && pollers[1].revents;
    return n > 0 && pollers[0].revents ? control_take(writer, error) : 0;
}

/* What happened to the worker is for the worker, or for whoever reaps it, to say: this is only what follows from it. */
static int end_without_end(Writer *writer, Error *error)
{
    if (apply_settle(writer, error) < 0)
        return -1;
    return error_set(error, ERROR_CANCELLED,
                     "the worker ended before it had sent everything; what was not committed "
                     "is rolled back");
}

static int run_operations(Writer *writer, Channel *pipe, Error *error)
{
    while (writer->sequence.state != SEQUENCE_ENDED) {
        bool readable = false;
        if (wait_for_input(writer, pipe, &readable, error) < 0 || control_check(writer, error) < 0 ||
            control_answer(writer, error) < 0)
            return -1;
        if (writer->worker_gone) {
            if (drain(writer, pipe, error) < 0)
                return -1;
            return writer->sequence.state == SEQUENCE_ENDED ? 0 : end_without_end(writer, error);
        }
        int r = readable ? channel_fill(pipe, error) : 0;
        if (r == CHANNEL_E_END || (r < 0 && error->kind == ERROR_CANCELLED)) {
            error_clear(error);
            return end_without_end(writer, error);
        }
        if (r < 0 || take_operations(writer, &pipe->reader, error) < 0)
            return -1;
    }
    return 0;
}

static int run_sync(Writer *writer, const Begin *begin, Error *error)
{
    const Destination *destination = writer->destination;
    /* A row of a file of changes is an upsert, or a deletion, as its last column says. */
    unsigned insert = OPERATION_BIT(OPERATION_INSERT);
    unsigned file_operations = begin->changes ? OPERATION_BIT(OPERATION_UPSERT) : insert;
    sequence_init(&writer->sequence,
                  &(SequenceRules){ .files = writer->files,
                                    .changes = begin->changes,
                                    .untyped = writer->plan && !writer->files,
                                    .rows = !writer->files,
                                    .only_table = begin->only_table,
                                    .prefix = writer->prefix,
                                    .operations = destination->operations & (writer->files ? file_operations : ~insert),
                                    .truncate = destination->soft_delete && !writer->files,
                                    .max_value_size = begin->max_value_size,
                                    .log_table = writer->log_table ? LOG_TABLE : NULL,
                                    .destination = destination->program });
    Channel pipe;
    channel_init(&pipe, FD_OPERATIONS, FRAME_PAYLOAD_MAX);
    int r = run_operations(writer, &pipe, error);
    channel_clear(&pipe);
    if (r < 0 || !writer->plan || !writer->log_table)
        return r;
    log_table_plan(writer);
    return apply_plan_tell(writer, error);
}

static int set_state(Writer *writer, const Begin *begin, Error *error)
{
    if (json_is_null(begin->set_state))
        return apply_state(writer, "{}", error);
    if (!json_is_object(begin->set_state))
        return error_set(error, ERROR_CONFIGURATION, "a state must be a JSON object");
    _cleanup_(freep) char *text = json_dumps(begin->set_state, JSON_COMPACT);
    if (!text)
        return error_set(error, ERROR_INTERNAL, "cannot write the state as JSON");
    return apply_state(writer, text, error);
}

static int run(Writer *writer, Begin *begin, Error *error)
{
    Frame hello = {
        .type = FRAME_HELLO,
        .hello = { .magic = FRAME_MAGIC, .version = FRAME_VERSION, .program = frame_text(writer->destination->program) }
    };
    if (control_send(writer, &hello, error) < 0 || receive_begin(writer, begin, error) < 0 ||
        open_destination(writer, begin, error) < 0)
        return -1;
    if (begin->get_state)
        return 0;
    return begin->set_state ? set_state(writer, begin, error) : run_sync(writer, begin, error);
}

static int say_last_word(Writer *writer, int r, const Error *error)
{
    debug_end(writer);
    if (r < 0) {
        _cleanup_(freep) char *message = error_format(error);
        Frame frame = { .type = FRAME_ERROR, .error = { .kind = error->kind, .message = frame_text(message) } };
        control_send(writer, &frame, NULL);
        return EXIT_FAILURE;
    }
    Frame done = { .type = FRAME_DONE, .done = { .rows = writer->rows_committed } };
    return control_send(writer, &done, NULL) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Closed before the last word: whoever hears it finds the destination at rest. But where the log is a table, too, the
 * last word is to be among its lines, and the end of the socket is the end. */
static int finish(Writer *writer, int r, const Error *error)
{
    int status = 0;
    bool log = writer->log_table && writer->rules.handle && !writer->plan;
    apply_abort(writer);
    if (log) {
        operations_reset(writer); /* its memory */
        status = say_last_word(writer, r, error);
        log_table_finish(writer);
    }
    if (writer->handle)
        writer->destination->close(writer->handle);
    return log ? status : say_last_word(writer, r, error);
}

int writer_main(int argc, char *argv[], const Destination *destination)
{
    _cleanup_(error_clear) Error error = { 0 };
    if (argc > 1) {
        fprintf(stderr, "%s is started by wherryd, without arguments\n", argv[0]);
        return 2;
    }
    if (sandbox_early(FD_OPERATIONS + 1, &error) < 0) {
        _cleanup_(freep) char *message = error_format(&error);
        fprintf(stderr, "%s: %s\n", destination->program, message);
        return EXIT_FAILURE;
    }
    Writer writer = { .destination = destination, .changes_fd = -1 };
    _cleanup_(begin_clear) Begin begin = { 0 };
    channel_init(&writer.control, FD_CONTROL, FRAME_CONTROL_MAX);
    int r = run(&writer, &begin, &error);
    int status = finish(&writer, r, &error);
    apply_clear(&writer);
    channel_clear(&writer.control);
    return status;
}
