/* shared_section.c: a DLL with one variable that all processes share.
 *
 * Windows maps a PE section marked IMAGE_SCN_MEM_SHARED once for all
 * processes, instead of a copy for each. So MySharedData is the same 4096
 * bytes in every process that loads this very file (a copy of the file has a
 * section of its own). It lives from the first load until the last process
 * frees the DLL; the next load starts with zeros. winipc.SharedSection loads
 * the DLL and finds the variable by its export, which shared_section.def marks
 * as DATA. The DLL uses neither Python nor a C runtime, so it loads in any
 * process.
 *
 * Security: a shared section has no name to guard and no access rights. Whoever
 * may read this file may load it, and then read and write the variable, in any
 * session and at any integrity level. Treat the content as coming from a
 * stranger, and keep secrets out of it. Never put a pointer there: the section
 * may have another address in each process.
 *
 * Compilers mark the section in different ways, and a linker may silently drop
 * the mark, which leaves a private variable. setup.py checks the built file. */

#include <windows.h>

/* MSVC puts a variable without an initialiser in .bss instead. */
#if defined(_MSC_VER)
#pragma section(".MYSEC", read, write, shared)
/* For clang-cl, which knows the pragma but not its "shared". */
#pragma comment(linker, "/SECTION:.MYSEC,RWS")
__declspec(allocate(".MYSEC")) char MySharedData[4096] = {0};
#elif defined(__clang__)
/* clang ignores the attribute; the first declaration in a section sets its
 * flags. */
__asm__(".section .MYSEC,\"dws\"\n.text\n");
__attribute__((section(".MYSEC"))) char MySharedData[4096] = {0};
#else
__attribute__((section(".MYSEC"), shared)) char MySharedData[4096] = {0};
#endif

BOOL WINAPI
DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved)
{
    (void)instance;
    (void)reason;
    (void)reserved;
    return TRUE;
}
