# The warnings of the house. Generated code does not link this.
add_library(coppice_warnings INTERFACE)
target_compile_options(coppice_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
  -Wno-sign-conversion -Wundef -Wpointer-arith
  # gcc only: text for people is cut to fit by design; what must not be cut checks snprintf's result
  $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>
  -include ${CMAKE_SOURCE_DIR}/base/include/base/banned.h)
if(COPPICE_WERROR)
  target_compile_options(coppice_warnings INTERFACE -Werror)
endif()
