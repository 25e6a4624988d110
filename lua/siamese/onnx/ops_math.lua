--- Operations of ONNX for ours: element by element, reductions, products.
-- @module siamese.onnx.ops_math
local core = require "siamese.core"

local M = {}

-- Element by element. Each takes the graph and the call (siamese.onnx.ops) and gives names of outputs.

--- One node of one operand.
local function unary(op, attributes)
   return function(g, c)
      return g:node(op, { c:input(1, "float32") }, attributes)
   end
end

for name, op in pairs{ exp = "Exp", log = "Log", sqrt = "Sqrt", abs = "Abs", neg = "Neg", sign = "Sign",
   reciprocal = "Reciprocal", floor = "Floor", ceil = "Ceil", round = "Round", sin = "Sin", cos = "Cos",
   tanh = "Tanh", sigmoid = "Sigmoid", relu = "Relu", erf = "Erf", hardswish = "HardSwish" } do
   M[name] = unary(op)
end
M.hardsigmoid = unary("HardSigmoid", { alpha = 1 / 6, beta = 0.5 })

function M.square(g, c)
   local x = c:input(1, "float32")
   return g:node("Mul", { x, x })
end

function M.leaky_relu(g, c)
   return g:node("LeakyRelu", { c:input(1, "float32") }, { alpha = c.params.a })
end

function M.elu(g, c)
   return g:node("Elu", { c:input(1, "float32") }, { alpha = c.params.a })
end

function M.relu6(g, c)
   return g:limits(c:input(1, "float32"), 0, 6)
end

function M.clamp(g, c)
   return g:limits(c:input(1, "float32"), c.params.a, c.params.b)
end

function M.silu(g, c)
   local x = c:input(1, "float32")
   return g:node("Mul", { x, g:node("Sigmoid", { x }) })
end

--- x (1 + erf(x / sqrt 2)) / 2
function M.gelu(g, c)
   local x = c:input(1, "float32")
   local erf = g:node("Erf", { g:node("Mul", { x, g:number(math.sqrt(0.5)) }) })
   return g:node("Mul", { g:node("Mul", { x, g:number(0.5) }), g:node("Add", { erf, g:number(1) }) })
end

--- x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
function M.gelu_tanh(g, c)
   local x = c:input(1, "float32")
   local cube = g:node("Mul", { g:node("Mul", { x, x }), g:node("Mul", { x, g:number(0.044715) }) })
   local inner = g:node("Mul", { g:node("Add", { x, cube }), g:number(math.sqrt(2 / math.pi)) })
   return g:node("Mul", { g:node("Mul", { x, g:number(0.5) }),
      g:node("Add", { g:node("Tanh", { inner }), g:number(1) }) })
end

function M.log1p(g, c)
   return g:node("Log", { g:node("Add", { c:input(1, "float32"), g:number(1) }) })
end

function M.expm1(g, c)
   return g:node("Sub", { g:node("Exp", { c:input(1, "float32") }), g:number(1) })
end

--- From a threshold of 20 on, what it cuts off is lost in rounding.
function M.softplus(g, c)
   local x, beta, threshold = c:input(1, "float32"), c.params.a, c.params.b
   local scaled = beta == 1 and x or g:node("Mul", { x, g:number(beta) })
   local y = g:node("Softplus", { scaled })
   y = beta == 1 and y or g:node("Div", { y, g:number(beta) })
   return threshold >= 20 and y
      or g:node("Where", { g:node("Greater", { scaled, g:number(threshold) }), x, y })
end

--- x^a, of one operand or two.
function M.pow(g, c)
   return g:node("Pow", { c:input(1, "float32"), c.inputs[2] and c:input(2, "float32")
      or g:number(c.params.a) })
end

--- Two operands of the result's type.
local function binary(op)
   return function(g, c)
      return g:node(op, { c:input(1, c:dtype_out(1)), c:input(2, c:dtype_out(1)) })
   end
end

for name, op in pairs{ add = "Add", sub = "Sub", mul = "Mul", div = "Div", maximum = "Max",
   minimum = "Min", prelu = "PRelu" } do
   M[name] = binary(op)
end

--- floor(a / b)
function M.floor_divide(g, c)
   if c:dtype_out(1) ~= "float32" then
      g:refuse("of integers, ONNX rounds quotients toward zero")
   end
   return g:node("Floor", { g:node("Div", { c:input(1, "float32"), c:input(2, "float32") }) })
end

--- a - b floor(a / b); of integers ONNX has it.
function M.remainder(g, c)
   local dtype = c:dtype_out(1)
   local a, b = c:input(1, dtype), c:input(2, dtype)
   if dtype ~= "float32" then
      return g:node("Mod", { a, b })
   end
   return g:node("Sub", { a, g:node("Mul", { b, g:node("Floor", { g:node("Div", { a, b }) }) }) })
end

--- Masks are uint8 here, as they are in siamese.
local function mask(g, x)
   return g:cast(x, "bool", "uint8")
end

local function comparison(op)
   return function(g, c)
      local float = c:dtype(1) == "float32" or c:dtype(2) == "float32"
      local dtype = float and "float32" or "int64"
      return mask(g, g:node(op, { c:input(1, dtype), c:input(2, dtype) }))
   end
end

for name, op in pairs{ eq = "Equal", lt = "Less", le = "LessOrEqual", gt = "Greater",
   ge = "GreaterOrEqual" } do
   M[name] = comparison(op)
end

function M.ne(g, c)
   local equal = M.eq(g, c)
   return mask(g, g:node("Not", { g:cast(equal, "uint8", "bool") }))
end

function M.isnan(g, c)
   return mask(g, g:node("IsNaN", { c:input(1, "float32") }))
end

function M.isfinite(g, c)
   local x = c:input(1, "float32")
   return mask(g, g:node("Not", { g:node("Or", { g:node("IsNaN", { x }), g:node("IsInf", { x }) }) }))
end

M["where"] = function(g, c)
   local dtype = c:dtype_out(1)
   return g:node("Where", { g:cast(c:input(1), c:dtype(1), "bool"), c:input(2, dtype), c:input(3, dtype) })
end

-- Products

M.matmul = binary("MatMul")

function M.linear(g, c)
   local x, bias = c:input(1), c:input(3)
   if #c:shape(1) == 2 then
      return g:node("Gemm", { x, c:input(2), bias }, { transB = 1 })
   end
   local weight = c:constant(2)
   weight = weight and g:constant(weight:t()) or g:node("Transpose", { c:input(2) }, { perm = { 1, 0 } })
   local y = g:node("MatMul", { x, weight })
   return bias ~= "" and g:node("Add", { y, bias }) or y
end

-- Reductions

--- The dimensions of a mask, from 0.
local function axes_of(dims, count)
   local list = {}
   for d = 0, count - 1 do
      if dims >> d & 1 == 1 then
         list[#list + 1] = d
      end
   end
   return list
end

local function keep(c)
   return c.params.keepdim and 1 or 0
end

local function reduce(op)
   return function(g, c)
      return g:node(op, { c:input(1, c:dtype_out(1)) }, { keepdims = keep(c),
         axes = axes_of(c.params.dims, #c:shape(1)) })
   end
end

for name, op in pairs{ mean = "ReduceMean", amax = "ReduceMax", amin = "ReduceMin", prod = "ReduceProd",
   logsumexp = "ReduceLogSumExp" } do
   M[name] = reduce(op)
end

local function sum(g, x, axes, keepdims)
   return g:node("ReduceSum", { x, g:integers(axes) }, { keepdims = keepdims })
end

function M.sum(g, c)
   return sum(g, c:input(1, c:dtype_out(1)), axes_of(c.params.dims, #c:shape(1)), keep(c))
end

--- The sum of squares of what is left of the mean, over the count less the correction.
function M.var(g, c)
   local axes, count = axes_of(c.params.dims, #c:shape(1)), 1
   for _, axis in ipairs(axes) do
      count = count * c:shape(1)[axis + 1]
      if c:shape(1)[axis + 1] ~= c:again(1)[axis + 1] then
         g:refuse("over the batch")
      end
   end
   local x = c:input(1, "float32")
   local centred = g:node("Sub", { x, g:node("ReduceMean", { x }, { axes = axes, keepdims = 1 }) })
   return g:node("Div", { sum(g, g:node("Mul", { centred, centred }), axes, keep(c)),
      g:number(count - c.params.a) })
end

function M.std(g, c)
   return g:node("Sqrt", { M.var(g, c) })
end

function M.norm(g, c)
   local p, x = c.params.a, c:input(1, "float32")
   local attributes = { axes = axes_of(c.params.dims, #c:shape(1)), keepdims = keep(c) }
   if p == 1 or p == 2 then
      return g:node(p == 1 and "ReduceL1" or "ReduceL2", { x }, attributes)
   elseif p == 0 then
      g:refuse("with p = 0")
   end
   local absolute = g:node("Abs", { x })
   if p == math.huge then
      return g:node("ReduceMax", { absolute }, attributes)
   end
   return g:node("Pow", { sum(g, g:node("Pow", { absolute, g:number(p) }), attributes.axes,
      attributes.keepdims), g:number(1 / p) })
end

local function add_one(g, x)
   return g:node("Add", { x, g:number(1, "int64") })
end

--- Values and positions of the largest or smallest.
function M.max(g, c)
   local p, x = c.params, c:input(1)
   local axis, keepdims = p.dim, keep(c)
   if axis < 0 then
      x, axis, keepdims = g:node("Reshape", { x, g:integers{ -1 } }), 0, 0
   end
   local kind = p.smallest and "Min" or "Max"
   local values = g:node("Reduce" .. kind, { x }, { axes = { axis }, keepdims = keepdims })
   local at = g:node("Arg" .. kind, { x }, { axis = axis, keepdims = keepdims })
   return values, add_one(g, at)
end

function M.softmax(g, c)
   return g:node(c.params.log and "LogSoftmax" or "Softmax", { c:input(1, "float32") },
      { axis = c.params.dim })
end

function M.cumsum(g, c)
   return g:node("CumSum", { c:input(1, c:dtype_out(1)), g:number(c.params.dim, "int64") })
end

function M.topk(g, c)
   local p = c.params
   local size = c:shape(1)[p.dim + 1]
   if size ~= c:again(1)[p.dim + 1] then
      g:refuse("along the batch")
   end
   local values, at = g:node("TopK", { c:input(1), g:integers{ p.k < 0 and size or p.k } },
      { axis = p.dim, largest = p.descending and 1 or 0 }, 2)
   return values, add_one(g, at)
end

-- Distances

--- |a - b + eps|_p
function M.pairwise_distance(g, c)
   local p = c.params.p
   local difference = g:node("Sub", { c:input(1), c:input(2) })
   if c.params.eps ~= 0 then
      difference = g:node("Add", { difference, g:number(c.params.eps) })
   end
   if p == 1 or p == 2 then
      return g:node(p == 1 and "ReduceL1" or "ReduceL2", { difference }, { axes = { 1 }, keepdims = 0 })
   end
   g:refuse("with p = %g", p)
end

function M.cosine_similarity(g, c)
   local a, b = c:input(1), c:input(2)
   local function length(x)
      return g:node("ReduceL2", { x }, { axes = { 1 }, keepdims = 0 })
   end
   local lengths = g:node("Max", { g:node("Mul", { length(a), length(b) }), g:number(c.params.eps) })
   return g:node("Div", { sum(g, g:node("Mul", { a, b }), { 1 }, 0), lengths })
end

--- x / max(|x|, eps)
function M.normalize(g, c)
   local x = c:input(1)
   local length = g:node("ReduceL2", { x }, { axes = { c.params.dim }, keepdims = 1 })
   return g:node("Div", { x, g:node("Max", { length, g:number(c.params.eps) }) })
end

--- mean(max(x, eps)^p)^(1 / p) over all dimensions behind the second.
function M.gem(g, c)
   local power = c:constant(2)
   if not power then
      g:refuse("with an exponent that depends on the input")
   end
   local axes = {}
   for d = 2, #c:shape(1) - 1 do
      axes[#axes + 1] = d
   end
   local p = power:item()
   local x = g:node("Pow", { g:limits(c:input(1), c.params.eps, math.huge), g:number(p) })
   return g:node("Pow", { g:node("ReduceMean", { x }, { axes = axes, keepdims = 1 }), g:number(1 / p) })
end

-- By index: ours count from 1

local function from_zero(g, c, i)
   local at = c:constant(i)
   return at and g:constant(at - 1) or g:node("Sub", { c:input(i), g:number(1, "int64") })
end

function M.embedding(g, c)
   return g:node("Gather", { c:input(2), from_zero(g, c, 1) }, { axis = 0 })
end

function M.index_select(g, c)
   return g:node("Gather", { c:input(1), from_zero(g, c, 2) }, { axis = c.params.dim })
end

function M.gather(g, c)
   return g:node("GatherElements", { c:input(1), from_zero(g, c, 2) }, { axis = c.params.dim })
end

function M.scatter_add(g, c)
   return g:node("ScatterElements", { c:input(1), from_zero(g, c, 2), c:input(3, c:dtype(1)) },
      { axis = c.params.dim, reduction = "add" })
end

function M.one_hot(g, c)
   return g:node("OneHot", { from_zero(g, c, 1), g:integers{ c.params.classes },
      g:constant(core.tensor{ 0, 1 }) }, { axis = -1 })
end

return M
