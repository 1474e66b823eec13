/*
 * What a pipeline file's `sandbox:` says, over what a source or destination needs.
 *
 * Where programs of others run, the daemon counts what all of them have together and says so; their own limit counts
 * what is only reserved, so it stands well above and is for what grows faster than the daemon looks.
 */
#include <jansson.h>
#include <string.h>

#include "lib/basics/buffer.h"
#include "lib/system/sandbox.h"

#define DATA_BYTES_RESERVED (UINT64_C(256) << 20) /* threads' stacks and the like, which are hardly used */

void sandbox_configure(SandboxPolicy *policy, const json_t *configuration, uint16_t **ret_ports)
{
    const json_t *sandbox = json_object_get(configuration, "sandbox");
    const char *mode = json_string_value(json_object_get(sandbox, "mode"));
    policy->strict = mode && strcmp(mode, "strict") == 0;
    const json_t *memory = json_object_get(sandbox, "memory");
    if (json_is_integer(memory))
        policy->data_bytes = (uint64_t)json_integer_value(memory);
    if (json_is_integer(memory) && policy->may_execute)
        policy->data_bytes = 2 * policy->data_bytes + DATA_BYTES_RESERVED;
    const json_t *ports = json_object_get(sandbox, "ports");
    if (json_is_array(ports)) {
        uint16_t *list = xcalloc(json_array_size(ports) + 1, sizeof(*list));
        for (policy->port_count = 0; policy->port_count < json_array_size(ports); policy->port_count++)
            list[policy->port_count] = (uint16_t)json_integer_value(json_array_get(ports, policy->port_count));
        policy->ports = *ret_ports = list;
    }
}
