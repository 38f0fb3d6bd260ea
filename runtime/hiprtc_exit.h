/* hiprtc_exit.h: exit codes of moejit-hiprtc; a signal's number comes on top of 128, as in a shell. */
#ifndef MOEJIT_HIPRTC_EXIT_H
#define MOEJIT_HIPRTC_EXIT_H

enum {
    HIPRTC_EXIT_COMPILE = 1, /* the source is at fault; messages on standard output */
    HIPRTC_EXIT_USAGE = 2,
    HIPRTC_EXIT_LIBRARY = 3, /* no hipRTC there, or one that does not work */
    HIPRTC_EXIT_FILES = 4,   /* source or output file */
};

#endif
