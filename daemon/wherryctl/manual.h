#pragma once
/* Prints the manual page wherryctl(1). */
void manual_print(void);
