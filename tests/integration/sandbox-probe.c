/*
 * Enters the sandbox with a policy from the command line, as a worker does, and tries what sandbox-attempts.c
 * lists.
 *
 *     sandbox-probe [--network none|outbound|listen] [--unix] [--execute] [--port N]… [--strict] [--data BYTES]
 *                   [--path r|w|c|x…:PATH]… --inside DIR --outside FILE --socket PATH --datagram PATH --abstract NAME
 *                   --setuid PROGRAM --victim PID --connect PORT [--try NAME]…
 *
 * Prints "layers: …", then a line for each attempt: those named, or all that do not end the process. An attempt that
 * ends it is seen by its signal. What must refuse it is the sandbox itself: the probe has no means to leave a layer
 * out.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/basics/buffer.h"
#include "lib/system/sandbox.h"
#include "tests/integration/sandbox-attempts.h"

#define LIST_MAX 64

typedef struct Arguments {
    SandboxPath paths[LIST_MAX];
    uint16_t ports[LIST_MAX];
    const char *names[LIST_MAX];
    size_t name_count;
    SandboxPolicy policy;
    Target target;
} Arguments;

static void bad_usage(const char *what)
{
    fprintf(stderr, "sandbox-probe: bad argument \"%s\"\n", what);
    exit(2);
}

static void add_path(Arguments *arguments, char *text)
{
    char *colon = strchr(text, ':');
    if (!colon || arguments->policy.path_count == LIST_MAX)
        bad_usage(text);
    SandboxPath path = { .path = colon + 1 };
    for (const char *letter = text; letter < colon; letter++) {
        switch (*letter) {
        case 'r':
            path.access |= SANDBOX_READ;
            break;
        case 'w':
            path.access |= SANDBOX_WRITE;
            break;
        case 'c':
            path.access |= SANDBOX_CREATE;
            break;
        case 'x':
            path.access |= SANDBOX_EXECUTE;
            break;
        default:
            bad_usage(text);
        }
    }
    arguments->paths[arguments->policy.path_count++] = path;
    arguments->policy.paths = arguments->paths;
}

static SandboxNetwork parse_network(const char *text)
{
    if (strcmp(text, "outbound") == 0)
        return SANDBOX_NETWORK_OUTBOUND;
    if (strcmp(text, "listen") == 0)
        return SANDBOX_NETWORK_LOOPBACK_LISTEN;
    if (strcmp(text, "none") != 0)
        bad_usage(text);
    return SANDBOX_NETWORK_NONE;
}

static void add_port(Arguments *arguments, const char *text)
{
    if (arguments->policy.port_count == LIST_MAX)
        bad_usage(text);
    arguments->ports[arguments->policy.port_count++] = (uint16_t)atoi(text);
    arguments->policy.ports = arguments->ports;
}

enum {
    NETWORK = 1,
    UNIX,
    EXECUTE,
    PORT,
    STRICT,
    DATA,
    PATH,
    INSIDE,
    OUTSIDE,
    SOCKET,
    DATAGRAM,
    ABSTRACT,
    SETUID,
    VICTIM,
    CONNECT,
    TRY,
};

static const struct option options[] = {
    { "network", required_argument, NULL, NETWORK },
    { "unix", no_argument, NULL, UNIX },
    { "execute", no_argument, NULL, EXECUTE },
    { "port", required_argument, NULL, PORT },
    { "strict", no_argument, NULL, STRICT },
    { "data", required_argument, NULL, DATA },
    { "path", required_argument, NULL, PATH },
    { "inside", required_argument, NULL, INSIDE },
    { "outside", required_argument, NULL, OUTSIDE },
    { "socket", required_argument, NULL, SOCKET },
    { "datagram", required_argument, NULL, DATAGRAM },
    { "abstract", required_argument, NULL, ABSTRACT },
    { "setuid", required_argument, NULL, SETUID },
    { "victim", required_argument, NULL, VICTIM },
    { "connect", required_argument, NULL, CONNECT },
    { "try", required_argument, NULL, TRY },
    { NULL },
};

static void take(Arguments *arguments, int option)
{
    switch (option) {
    case NETWORK:
        arguments->policy.network = parse_network(optarg);
        break;
    case UNIX:
        arguments->policy.unix_sockets = true;
        break;
    case EXECUTE:
        arguments->policy.may_execute = true;
        break;
    case PORT:
        add_port(arguments, optarg);
        break;
    case STRICT:
        arguments->policy.strict = true;
        break;
    case DATA:
        arguments->policy.data_bytes = strtoull(optarg, NULL, 10);
        break;
    case PATH:
        add_path(arguments, optarg);
        break;
    case INSIDE:
        arguments->target.inside = optarg;
        break;
    case OUTSIDE:
        arguments->target.outside = optarg;
        break;
    case SOCKET:
        arguments->target.socket = optarg;
        break;
    case DATAGRAM:
        arguments->target.datagram = optarg;
        break;
    case ABSTRACT:
        arguments->target.abstract = optarg;
        break;
    case SETUID:
        arguments->target.setuid = optarg;
        break;
    case VICTIM:
        arguments->target.victim = atoi(optarg);
        break;
    case CONNECT:
        arguments->target.port = atoi(optarg);
        break;
    case TRY:
        if (!attempt_find(optarg) || arguments->name_count == LIST_MAX)
            bad_usage(optarg);
        arguments->names[arguments->name_count++] = optarg;
        break;
    default:
        exit(2);
    }
}

static void report(const Attempt *attempt, const Target *target)
{
    char line[1024];
    attempt_report(attempt, target, line, sizeof line);
    puts(line);
    fflush(stdout);
}

static int fail(const Error *error)
{
    _cleanup_(freep) char *message = error_format(error);
    printf("error: %s: %s\n", error_kind_name(error->kind), message);
    return 1;
}

int main(int argc, char *argv[])
{
    static Arguments arguments;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        take(&arguments, option);

    _cleanup_(error_clear) Error error = { 0 };
    unsigned layers = 0;
    if (sandbox_early(3, &error) < 0 || sandbox_enter(&arguments.policy, &layers, &error) < 0)
        return fail(&error);
    _cleanup_(freep) char *description = sandbox_describe(layers, &arguments.policy);
    printf("layers: %s\n", description);
    fflush(stdout);
    for (size_t i = 0; i < arguments.name_count; i++)
        report(attempt_find(arguments.names[i]), &arguments.target);
    for (const Attempt *attempt = attempt_first(); arguments.name_count == 0 && attempt;
         attempt = attempt_next(attempt)) {
        if (!attempt->ends)
            report(attempt, &arguments.target);
    }
    return 0;
}
