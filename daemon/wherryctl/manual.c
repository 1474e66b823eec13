/*
 * The manual page wherryctl(1), written from the tables of commands and options, so that it cannot disagree with help.
 */
#include <stdio.h>

#include "daemon/wherryctl/manual.h"
#include "daemon/wherryctl/options.h"
#include "lib/formats/manual.h"
#include "wherry-build.h"

static void put_options(Buffer *page, unsigned bits)
{
    for (const OptionName *option = OPTION_NAMES; option->name; option++) {
        if (!(option->bit & bits))
            continue;
        manual_term(page, option->name, option->value);
        manual_text(page, option->summary);
    }
}

static void put_command(Buffer *page, const Command *command)
{
    manual_subheading(page, command->name);
    _cleanup_(freep) char *usage = xasprintf("`wherryctl %s` %s", command->name, command->arguments);
    manual_paragraph(page, usage);
    _cleanup_(freep) char *summary = xasprintf("%s.", command->summary);
    summary[0] = (char)(summary[0] >= 'a' && summary[0] <= 'z' ? summary[0] - 'a' + 'A' : summary[0]);
    manual_paragraph(page, summary);
    if (command->details)
        manual_paragraph(page, command->details);
    put_options(page, command->options);
}

static const char about[] =
    "wherryctl steers wherryd, the daemon that keeps tables in step with their sources. It asks over a socket, "
    "`/run/wherry/org.wherry.Manager`: root, the daemon's own user and the group `wherry` are answered. What needs no "
    "daemon says so. Options may stand before or after the command.";
static const char machines[] =
    "With `--json` one object is printed, and nothing else on standard output. Without it the "
    "output is for people, and coloured only on a terminal; `NO_COLOR` is honoured.";

void manual_print(void)
{
    static const char *const statuses[][2] = { { "0", "done" },
                                               { "1", "the sync, or a file in it, failed" },
                                               { "2", "wrong use or configuration" },
                                               { "3", "there is no daemon" } };
    _cleanup_(buffer_clear) Buffer page = {};
    manual_begin(&page, "WHERRYCTL", 1, WHERRY_VERSION);
    manual_heading(&page, "NAME");
    manual_text(&page, "wherryctl - steer wherryd");
    manual_heading(&page, "SYNOPSIS");
    manual_text(&page, "`wherryctl` COMMAND [ARGUMENT…] [OPTION…]");
    manual_heading(&page, "DESCRIPTION");
    manual_paragraph(&page, about);
    manual_paragraph(&page, machines);
    manual_heading(&page, "COMMANDS");
    for (const Command *command = commands_all(); command->name; command++)
        put_command(&page, command);
    manual_heading(&page, "OPTIONS OF EVERY COMMAND");
    put_options(&page, OPTIONS_OF_ALL);
    manual_heading(&page, "EXIT STATUS");
    for (size_t i = 0; i < ELEMENTSOF(statuses); i++) {
        manual_term(&page, statuses[i][0], NULL);
        manual_text(&page, statuses[i][1]);
    }
    manual_heading(&page, "SEE ALSO");
    manual_text(&page, "`wherry-pipeline`(5), `wherryd`(8)");
    fwrite(buffer_bytes(&page), 1, buffer_length(&page), stdout);
}
