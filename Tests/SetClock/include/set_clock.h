#pragma once

// Set in the environment of a program that has this library preloaded: names a file of eight bytes, the seconds by which the
// program's time of day is ahead of the host's, as a signed integer in the machine's order. The file may be written at any time.
#define SET_CLOCK_FILE "FASTABLE_TEST_CLOCK"

// The same: names a file that the program reads in place of the kernel's name of the host's present life (`boot_id`).
#define SET_BOOT_FILE "FASTABLE_TEST_BOOT"
