/* utf8.h: whether bytes are text. */
#ifndef SM_BASE_UTF8_H
#define SM_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing beyond
 * U+10FFFF. */
bool sm_utf8_valid(const char *text, size_t size);

#endif
