#pragma once
/* Hides known secret values (MASK_MIN_LENGTH bytes and longer) wherever they stand in a text, as "****". */
#include <stddef.h>

#define MASK_MIN_LENGTH 6

typedef struct Mask Mask;
Mask *mask_new(void);
Mask *mask_free(Mask *mask);
void mask_add(Mask *mask,
              const char *secret); /* copies; shorter ones are ignored; a value of several lines hides each line too */
/* A masked copy, or NULL where TEXT holds no secret. The caller frees. MASK may be NULL. */
char *mask_apply(const Mask *mask, const char *text, size_t n);
