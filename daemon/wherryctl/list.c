/* One way for all commands that list: ask, then JSON for a program, a table for a person, or a line where it is empty.
 */
#include "daemon/wherryctl/list.h"

#include <stdio.h>

#include "daemon/wherryctl/print.h"

int list_show(const Options *options, const List *list, json_t *parameters)
{
    json_t *reply, *item;
    size_t i;
    int status = client_ask_or_say(options, list->method, parameters, list->field, &reply);
    if (status != 0)
        return status;

    json_t *items = json_object_get(reply, list->field);
    if (options->given & OPTION_JSON) {
        print_json(reply, false);
    } else if (json_array_size(items) == 0) {
        puts(list->none);
    } else {
        Table *table = table_new(list->headers);
        json_array_foreach (items, i, item)
            list->add(table, item);
        table_print(table, stdout);
        table_free(table);
    }
    json_decref(reply);
    return EXIT_DONE;
}
