--- Optimisers: groups, state, clipping, errors (their arithmetic is in golden_spec).
local siamese = require "siamese"
local support = require "spec.support"

local optim, fails, close = siamese.optim, support.fails, support.close

local function leaf(...)
   return siamese.tensor({ ... }, { requires_grad = true })
end

describe("an optimiser", function()
   it("gives each group its own options, which may change at any time", function()
      local w, v = leaf(1, 1), leaf(1, 1)
      local opt = optim.SGD({ { params = { w }, lr = 0.1 }, { params = { v } } }, { lr = 1 })
      local function step()
         opt:zero_grad();
         (w:sum() + v:sum()):backward()
         opt:step()
      end
      step()
      close(w, { 0.9, 0.9 })
      close(v, { 0, 0 })
      opt.param_groups[2].lr = 0
      step()
      close(w, { 0.8, 0.8 })
      close(v, { 0, 0 })
   end)

   it("leaves parameters without a gradient alone", function()
      local w, v = leaf(1), leaf(1)
      local opt = optim.Adam({ w, v })
      w:sum():backward()
      opt:step()
      assert.is_true(w:item() < 1)
      assert.equal(1, v:item())
   end)

   it("goes on from a saved state bit by bit", function()
      for _, make in ipairs{
         function(p) return optim.SGD(p, { lr = 0.01, momentum = 0.9 }) end,
         function(p) return optim.AdamW(p, { lr = 0.1 }) end,
      } do
         local w = leaf(1, -2, 3)
         local opt = make{ w }
         local function steps(optimizer, parameter, n)
            for _ = 1, n do
               optimizer:zero_grad();
               (parameter ^ 2):sum():backward()
               optimizer:step()
            end
         end
         steps(opt, w, 3)
         local saved, kept = opt:state_dict(), w:detach():clone():requires_grad_()
         steps(opt, w, 3)
         local other = make{ kept }
         other:load_state_dict(saved)
         steps(other, kept, 3)
         assert.is_true(w:detach() == kept:detach())
      end
   end)

   it("refuses a state of another optimiser or of other parameters", function()
      local opt = optim.SGD({ leaf(1) }, { lr = 1 })
      fails("no state of SGD", opt.load_state_dict, opt, optim.Adam({ leaf(1) }):state_dict())
      fails("group 1 has other parameters", opt.load_state_dict, opt,
         optim.SGD({ leaf(1), leaf(2) }, { lr = 1 }):state_dict())
   end)

   it("names what is wrong with its parameters and options", function()
      local w = leaf(1)
      fails("optim.SGD: option 'lr' is required", optim.SGD, { w }, {})
      fails("unknown option 'learning_rate'", optim.SGD, { w }, { learning_rate = 1 })
      fails("lr must be a number from 0 to inf, got -1", optim.SGD, { w }, { lr = -1 })
      fails("nesterov needs momentum", optim.SGD, { w }, { lr = 1, nesterov = true })
      fails("betas must be two numbers in [0, 1)", optim.Adam, { w }, { betas = { 1, 0.5 } })
      fails("expected a list of parameters or of groups", optim.Adam, {})
      fails("listed twice", optim.Adam, { w, w })
      fails("parameter 1 must be a float32 leaf", optim.Adam, { w * 2 })
      local opt = optim.Adam{ w }
      w:free()
      fails("parameter 1 is no tensor, or has been freed", opt.step, opt)
   end)

   it("finds the minimum of a small problem", function()
      siamese.manual_seed(3)
      local x = siamese.randn(50, 3)
      local y = x:matmul(siamese.tensor{ 1, -2, 0.5 })
      local w = leaf(0, 0, 0)
      local opt = optim.Adam({ w }, { lr = 0.1 })
      for _ = 1, 300 do
         opt:zero_grad()
         siamese.nn.functional.mse_loss(x:matmul(w), y):backward()
         opt:step()
      end
      close(w, { 1, -2, 0.5 }, 1e-2, 1e-2)
   end)
end)

describe("clipping", function()
   it("scales all gradients to a common norm and gives the norm before", function()
      local w, v = leaf(1), leaf(1);
      (w * 3 + v * 4):sum():backward()
      close({ optim.clip_grad_norm({ w, v }, 1) }, { 5 })
      close(w.grad, { 0.6 }, 1e-4)
      close(v.grad, { 0.8 }, 1e-4)
      close({ optim.clip_grad_norm({ w, v }, 10) }, { 1 }, 1e-4)
      close(w.grad, { 0.6 }, 1e-4)
      fails("max_norm must be a number of at least 0", optim.clip_grad_norm, { w }, -1)
   end)

   it("clamps values", function()
      local w = leaf(1, 1);
      (w * siamese.tensor{ 3, -0.5 }):sum():backward()
      optim.clip_grad_value({ w }, 1)
      close(w.grad, { 1, -0.5 })
   end)
end)
