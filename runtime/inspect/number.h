/* inspect/number.h: numbers as Go prints them. */
#pragma once
#include <stddef.h>

enum { NUMBER_BYTES = 32 };

/* The shortest text that reads back as `value`, in the form of Go's strconv 'g' with -1: "1",
 * "0.001", "1.5e+06", "+Inf", "-Inf", "NaN". Returns buf, of at least NUMBER_BYTES. */
char *number_format(double value, char *buf);
