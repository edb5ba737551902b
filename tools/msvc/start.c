/* start.c: what the libraries of MSVC bring along, for a link without them. */
int _fltused = 1; /* asked for where there are floating-point numbers */
