--- Operands that are repeated to fit: values and gradients against sums over expanded copies, for every order
-- of the other operand in memory, on short and long rows, whatever the number of threads.
local siamese = require "siamese"
local support = require "spec.support"

local F = siamese.nn.functional

--- The dimensions of `shape` along which `own` was repeated, with own's missing ones in front.
local function repeated(shape, own)
   local dims, lead = {}, #shape - #own
   for d = 1, #shape do
      if d <= lead or (own[d - lead] == 1 and shape[d] ~= 1) then
         dims[#dims + 1] = d
      end
   end
   return dims
end

local ORDERS = {
   contiguous = function(t) return t:contiguous() end,
   ["channels-last"] = function(t)
      local dims = t:dim()
      if dims < 3 then
         return t
      end
      local behind, front = { 1 }, { 1, dims }
      for d = 3, dims do
         behind[#behind + 1], front[#front + 1] = d, d - 1
      end
      behind[#behind + 1] = 2
      return t:permute(behind):contiguous():permute(front)
   end,
   strided = function(t) return support.noncontiguous(t) end,
}

local CASES = {
   { { 2, 3, 4, 5 }, { 2, 3, 1, 1 } }, { { 2, 3, 4, 5 }, { 3, 1, 1 } }, { { 2, 3, 4, 5 }, { 1, 3, 1, 1 } },
   { { 2, 3, 4, 5 }, { 2, 1, 1, 1 } }, { { 2, 3, 4, 5 }, { 5 } }, { { 2, 3, 4, 5 }, { 1 } },
   { { 2, 3, 4, 5 }, {} }, { { 2, 3, 4, 5 }, { 2, 1, 4, 5 } }, { { 2, 3, 4, 5 }, { 4, 1 } },
   { { 2, 3, 4, 5 }, { 3, 1, 5 } }, { { 1, 3 }, { 3 } }, { { 1, 1, 3 }, { 1 } },
   { { 3, 40, 9, 9 }, { 3, 40, 1, 1 } },
   { { 1, 24, 60, 60 }, { 1, 24, 1, 1 } }, { { 2, 600, 5, 5 }, { 2, 600, 1, 1 } }, { { 3, 5000 }, { 5000 } },
   { { 40, 33 }, { 33 } }, { { 40, 33 }, { 40, 1 } }, { { 2, 16, 40 }, { 16, 1 } }, { { 0, 3, 4 }, { 3, 1 } },
   { { 2, 3, 4, 5, 6 }, { 3, 1, 5, 1 } }, { { 20000 }, { 1 } },
}

describe("operands that are repeated", function()
   local threads = siamese.get_threads()

   before_each(function()
      siamese.manual_seed(3)
   end)

   after_each(function()
      siamese.set_threads(threads)
   end)

   for _, case in ipairs(CASES) do
      for name, order in pairs(ORDERS) do
         local title = ("[%s] and [%s], %s"):format(table.concat(case[1], ","), table.concat(case[2], ","),
            name)
         it(title, function()
            local x, w = order(siamese.randn(case[1])), siamese.randn(case[2])
            local g = order(siamese.randn(case[1]))
            local wide, dims = w:expand(case[1]):contiguous(), repeated(case[1], case[2])
            for _, op in ipairs{ "mul", "add", "div", "maximum" } do
               local a, b = x:detach():clone():requires_grad_(), w:detach():clone():requires_grad_()
               local whole = wide:detach():clone():requires_grad_()
               local y = order(a)[op](order(a), b)
               support.close(y, x[op](x, wide))
               y:backward(g)
               x[op](x, whole):backward(g)
               local want = whole.grad:sum(dims):reshape(case[2])
               local typical = want:abs():sum():item() / math.max(1, want:numel())
               support.close(b.grad, want, 1e-4, 1e-4 * (1 + typical))
            end
         end)
      end
   end

   it("give the same bits on any number of #threads", function()
      local x = F.max_pool2d(siamese.randn(3, 24, 50, 50), { kernel_size = 1 })
      for _, shape in ipairs{ { 3, 24, 1, 1 }, { 24, 1, 1 }, { 1 } } do
         local w, first = siamese.randn(shape):requires_grad_(), nil
         for _, n in ipairs{ 1, 2, 3, 7 } do
            siamese.set_threads(n)
            w.grad = nil;
            (x * w):square():sum():backward()
            assert.is_true(first == nil or first == w.grad)
            first = w.grad
         end
      end
   end)

   it("are the same on every instruction set", function()
      local x, w = siamese.randn(2, 19, 7, 6), siamese.randn(2, 19, 1, 1):requires_grad_()
      local image, want = F.max_pool2d(x, { kernel_size = 1 }), nil
      support.each_isa(function()
         w.grad = nil;
         (image * w):sum():backward()
         support.close(w.grad, want or x:sum({ 3, 4 }, true), 1e-4, 1e-5)
         want = w.grad
      end)
   end)

   it("may be integers beside short rows", function()
      local a = siamese.arange(2 * 3 * 20, { dtype = "int64" }):reshape(2, 20, 3):permute(1, 3, 2)
      local b = siamese.tensor({ 1, -2, 3 }, { dtype = "int64" }):view(1, 3, 1)
      assert.is_true(a * b == a:contiguous() * b:expand(2, 3, 20):contiguous())
      local mask = a:remainder(2):eq(0)
      support.close(siamese.where(mask, b:float(), a:float()), siamese.where(mask:contiguous(),
         b:float():expand(2, 3, 20):contiguous(), a:float():contiguous()))
   end)
end)
