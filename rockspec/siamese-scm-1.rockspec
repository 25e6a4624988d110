rockspec_format = "3.0"
package = "siamese"
version = "scm-1"
-- `luarocks --lua-version 5.4 make` builds the tree that this file lies in; a release names its address.
source = {
   url = "git+https://example.org/siamese.git",
}
description = {
   summary = "Siamese (twin) networks and one-shot recognition",
   detailed = [[
      Tensors, automatic differentiation, layers, twin networks and their losses, optimisers, real images
      in and one-shot answers out: a C core that Lua scripts define networks, data and training loops for.
   ]],
   labels = { "machine-learning", "neural-network", "siamese", "one-shot", "tensor" },
   license = "MIT",
}
supported_platforms = { "unix" }
dependencies = {
   "lua ~> 5.4",
}
external_dependencies = {
   -- Without `header`: Debian keeps cblas.h in a folder of the processor's name, where compilers look
   -- and LuaRocks doesn't.
   OPENBLAS = { library = "openblas" },
}
local variables = {
   CC = "$(CC)",
   CFLAGS = "$(CFLAGS)",
   LIBFLAG = "$(LIBFLAG)",
   LUA_INCDIR = "$(LUA_INCDIR)",
   OPENBLAS_INCDIR = "$(OPENBLAS_INCDIR)",
   OPENBLAS_LIBDIR = "$(OPENBLAS_LIBDIR)",
   INST_LIBDIR = "$(LIBDIR)",
   INST_LUADIR = "$(LUADIR)",
}
build = {
   type = "make",
   build_variables = variables,
   install_variables = variables,
}
