/* A source in C: three readings a sync, going on where the last one ended. Build it with: cc -o emit emit.c */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    static char begin[1 << 16]; /* {"configuration": {…}, …, "state": {…}} */
    if (!fgets(begin, sizeof(begin), stdin))
        return 1;
    const char *state = strstr(begin, "\"last\":");
    long last = state ? strtol(state + strlen("\"last\":"), NULL, 10) : 0;

    puts("{\"op\": \"schema\", \"tables\": [{\"table\": \"readings\", \"primary_key\": [\"id\"], "
         "\"columns\": {\"id\": \"LONG\", \"value\": \"DOUBLE\"}}]}");
    for (int i = 1; i <= 3; i++)
        printf("{\"op\": \"upsert\", \"table\": \"readings\", \"data\": {\"id\": %ld, \"value\": %d.5}}\n", ++last, i);

    /* What was printed so far and this state become durable together. */
    printf("{\"op\": \"checkpoint\", \"state\": {\"last\": %ld}}\n", last);
    fprintf(stderr, "printed readings up to %ld\n", last); /* goes to the log */
    return 0;
}
