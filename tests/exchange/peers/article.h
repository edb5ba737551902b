/* article.h: what the article's sender and receiver share.
 *
 * A plain ANSI program of the kind that the exchange has to stay compatible
 * with: fixed names, NUL-terminated text, no lengths, SendMessage as the only
 * synchronisation. It uses nothing of winipc on purpose.
 */
#ifndef ARTICLE_H
#define ARTICLE_H

#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARTICLE_SIZE 4096 /* of the mapping and of the shared section */

/* Both programs take the names as arguments, in this order, so that tests may
 * run at the same time; the defaults are the article's. */
typedef struct {
    const char *title;
    const char *mapping;
    const char *library;
} article_names;

static inline article_names
article_arguments(int argc, char **argv)
{
    article_names names = {"Receive", "MySharedMem", "shared_section.dll"};
    if (argc > 1) {
        names.title = argv[1];
    }
    if (argc > 2) {
        names.mapping = argv[2];
    }
    if (argc > 3) {
        names.library = argv[3];
    }
    return names;
}

/* MySharedData of the DLL, which stays loaded, or NULL. */
static inline char *
article_shared_data(const char *library)
{
    HMODULE module = LoadLibraryA(library);
    if (module == NULL) {
        return NULL;
    }
    return (char *)(void *)GetProcAddress(module, "MySharedData");
}

#endif
