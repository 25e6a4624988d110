--- Calibration: scikit-learn's values (spec/golden/metrics.lua), thresholds, and what travels with a twin.
local siamese = require "siamese"
local files = require "spec.support_files"
local json = require "siamese.json"
local made = require "spec.support_checkpoints"
local support = require "spec.support"

local calibration, image, metrics, nn = siamese.calibration, siamese.image, siamese.metrics, siamese.nn
local close, fails, temporary = support.close, support.fails, made.temporary
local golden = support.golden("metrics")

local function near(expected, got, tolerance)
   assert.is_true(math.abs(expected - got) <= (tolerance or 1e-9),
      ("expected %.12f, got %.12f"):format(expected, got))
end

describe("Platt's map", function()
   it("is scikit-learn's", function()
      for _, case in ipairs(golden.calibration) do
         local c = calibration.fit(case.distances, case.same)
         near(case.a, c.map.a, 1e-4)
         near(case.b, c.map.b, 1e-4)
         close(c:probability(case.grid), case.platt, 1e-4, 1e-5)
         close(c:probability(support.noncontiguous(siamese.tensor(case.grid))), case.platt, 1e-4, 1e-5)
      end
   end)

   it("does not depend on the unit of distances", function()
      local case = golden.calibration[1]
      local d = siamese.tensor(case.distances)
      local plain = calibration.fit(d, case.same):probability(d)
      for _, unit in ipairs{ 1e-6, 1e6 } do
         close(calibration.fit(d * unit, case.same):probability(d * unit), plain, 1e-4, 1e-5)
      end
   end)

   it("stays finite where the kinds lie apart, and says the share where all distances are one", function()
      local d, same = {}, {}
      for i = 1, 100 do
         d[i], same[i] = i <= 50 and 0 or 1, i <= 50 and 1 or 0
      end
      local p = calibration.fit(d, same):probability({ 0, 1 }):totable()
      near(51 / 52, p[1], 1e-3)
      near(1 / 52, p[2], 1e-3)
      p = calibration.fit({ 2, 2, 2, 2 }, { 1, 0, 0, 0 }):probability({ 2 })
      near((2 / 3 + 3 * 1 / 5) / 4, p:item(), 1e-6)
   end)
end)

describe("the isotonic map", function()
   it("is scikit-learn's, ties and ends included", function()
      for _, case in ipairs(golden.calibration) do
         local c = calibration.fit(case.distances, case.same, { method = "isotonic" })
         close(c:probability(case.grid), case.isotonic, 1e-5, 1e-6)
      end
   end)

   it("is one step where larger distances are likelier same", function()
      local c = calibration.fit({ 1, 2, 3, 4 }, { 0, 0, 1, 1 }, { method = "isotonic" })
      close(c:probability{ 0, 1.5, 9 }, { 0.5, 0.5, 0.5 })
      c = calibration.fit({ 1, 2, 3, 4 }, { 1, 1, 0, 0 }, { method = "isotonic" })
      close(c:probability{ 1, 2.5, 4 }, { 1, 0.5, 0 })
   end)
end)

describe("reliability", function()
   it("is that of calibration_curve and brier_score_loss, in bins of both kinds", function()
      for _, case in ipairs(golden.calibration) do
         for strategy, want in pairs(case.bins) do
            local r = calibration.reliability(case.probabilities, case.same, { strategy = strategy })
            local observed, predicted, count = {}, {}, {}
            for _, bin in ipairs(r.bins) do
               if bin.count > 0 then
                  observed[#observed + 1], predicted[#predicted + 1] = bin.observed, bin.predicted
                  count[#count + 1] = bin.count
               end
            end
            assert.same(want.count, count)
            close(observed, want.observed)
            close(predicted, want.predicted)
            near(want.expected, r.expected_calibration_error, 1e-6)
            near(want.maximum, r.maximum_calibration_error, 1e-6)
            near(case.brier, r.brier, 1e-6)
         end
      end
   end)

   it("takes pairs of one kind; refuses what is no probability", function()
      local r = calibration.reliability({ 0.9, 1, 0 }, { 1, 1, 1 })
      near((0.05 * 2 + 1) / 3, r.expected_calibration_error, 1e-6)
      fails("pair 2: a probability must be from 0 to 1, got 1.5", calibration.reliability, { 1, 1.5 },
         { 1, 0 })
      fails("a probability is not a number", calibration.reliability, { 0 / 0 }, { 1 })
      fails("bins must be an integer of at least 1, got 0", calibration.reliability, { 1 }, { 1 },
         { bins = 0 })
      fails("strategy must be 'uniform' or 'quantile', got 'even'", calibration.reliability, { 1 }, { 1 },
         { strategy = "even" })
   end)

   it("is drawn", function()
      local case = golden.calibration[1]
      local r = calibration.reliability(case.probabilities, case.same)
      local picture = siamese.figure.reliability(r, { size = 120 })
      assert.equal("uint8", picture.dtype)
      local folder = files.temp_folder()
      assert(image.save(folder .. "/r.png", picture))
      assert.is_true(assert(image.load(folder .. "/r.png", { channels = 3 })) == picture)
      files.remove(folder)
      -- A bar of the last bin reaches as high as it was observed.
      local bin = r.bins[10]
      local x, top, bottom = 50 + 114, 24 + math.floor((1 - bin.observed) * 119 + 0.5), 24 + 119
      local function blue(y)
         return picture[1][y][x]:item() == 60 and picture[3][y][x]:item() == 180
      end
      assert.is_true(blue(bottom - 20))
      assert.is_false(blue(top - 3))
   end)
end)

describe("curves", function()
   it("are drawn from lists and tensors, with gaps where values are not finite", function()
      local canvas = siamese.figure.curves({ { y = { 1, 2, 0 / 0, 4 }, label = "a" },
         { x = siamese.tensor{ 1, 4 }, y = siamese.tensor{ 4, 1 } } }, { title = "t", x_label = "x" })
      assert.same({ 3, 260 + 66 + 24, 510 }, canvas.shape)
      siamese.figure.curves({ { y = {} } })
      siamese.figure.curves({ { y = { 3, 3 } } })
      fails("curve 1 has 1 x and 2 y", siamese.figure.curves, { { x = { 1 }, y = { 1, 2 } } })
      fails("y must be a list of numbers or a tensor, got string", siamese.figure.curves, { { y = "1" } })
   end)

   it("are lines from point to point, inside of the canvas or not", function()
      local canvas = image.canvas(20, 10)
      image.line(canvas, 3, 2, 8, 7)
      for i = 0, 5 do
         assert.equal(0, canvas[1][2 + i][3 + i]:item())
      end
      assert.equal(6 * 3, canvas:eq(0):sum():item())
      image.line(canvas, 1, 9, 1e8, 9, { color = { 0, 0, 0 } })
      assert.equal(20, canvas[2][9]:eq(0):sum():item())
      image.line(canvas, -1e8, -1e8, 1e8, 1e8 + 5, { color = { 9, 9, 9 }, thickness = 2 })
      image.line(canvas, 5, 5, 5, 5, { thickness = 3 })
      assert.equal(0, canvas[1][4][4]:item() + canvas[1][6][6]:item())
   end)
end)

describe("a calibration", function()
   it("keeps its rate of false accepts on the pairs it was fitted on", function()
      local case = golden.verification[3]
      for _, far in ipairs{ 0, 1e-2, 0.1, 1 } do
         local c = calibration.fit(case.distances, case.same, { far = far })
         assert.is_true(c.figures.false_accept_rate <= far)
         local tar, threshold, reached = metrics.tar_at_far(case.distances, case.same, far)
         near(tar, c.figures.true_accept_rate, 1e-6)
         near(reached, c.figures.false_accept_rate, 1e-6)
         assert.equal(threshold, c.threshold)
         assert.same({ threshold, tar, reached },
            { calibration.threshold_at_far(case.distances, case.same, far) })
      end
      local best = calibration.fit(case.distances, case.same)
      near(metrics.verification(case.distances, case.same).accuracy, best.figures.accuracy)
      assert.equal(0.7, calibration.fit(case.distances, case.same, { threshold = 0.7 }).threshold)
   end)

   it("gives its figures on other pairs, of one kind too", function()
      local case, other = golden.verification[3], golden.verification[2]
      local c = calibration.fit(case.distances, case.same, { far = 0.05 })
      local f = c:evaluate(other.distances, other.same)
      assert.equal(f, c.tested)
      near(other.auc, f.auc)
      assert.matches("tested: accuracy", tostring(c))
      f = c:evaluate({ 0.1, 0.2 }, { 1, 1 })
      assert.is_true(f.false_accept_rate ~= f.false_accept_rate)
      assert.is_nil(c:options().tested.false_accept_rate)
      assert.matches("false accepts %-", tostring(c))
   end)

   it("travels as data, to the last bit", function()
      local case = golden.verification[3]
      for _, method in ipairs{ "platt", "isotonic", false } do
         local c = calibration.fit(case.distances, case.same, { method = method, far = 0.01 })
         c:evaluate({ 0.1, 0.2 }, { 1, 1 })
         local again = calibration.from(assert(json.decode(json.encode(c:options()))))
         assert.same(c:options(), again:options())
         if method then
            assert.is_true(c:probability(case.distances) == again:probability(case.distances))
         end
         assert.is_true(c:same(case.distances) == again:same(case.distances))
      end
      fails("it was fitted with method = false", calibration.fit(case.distances, case.same,
         { method = false }).probability, calibration.fit(case.distances, case.same, { method = false }),
         { 1 })
   end)

   it("needs both kinds of pairs and finite distances", function()
      fails("calibration.fit: needs pairs of both kinds; all 2 are of one class", calibration.fit,
         { 1, 2 }, { 1, 1 })
      fails("calibration.fit: needs pairs of both kinds; all 2 are of two classes", calibration.fit,
         { 1, 2 }, { 0, 0 }, { method = "isotonic" })
      fails("needs pairs of both kinds", calibration.fit, { 1, 2 }, { 0, 0 }, { method = false })
      fails("the distance of pair 2 is not a number", calibration.fit, { 1, 0 / 0 }, { 1, 0 })
      fails("the distance of pair 2 is not finite", calibration.fit, { 1, math.huge }, { 1, 0 })
      fails("far must be a number from 0 to 1, got 2", calibration.fit, { 1, 2 }, { 1, 0 }, { far = 2 })
      fails("far chooses the threshold; give one of the two", calibration.fit, { 1, 2 }, { 1, 0 },
         { far = 0.1, threshold = 1 })
      fails("method must be 'platt' or 'isotonic', got 'beta'", calibration.fit, { 1, 2 }, { 1, 0 },
         { method = "beta" })
      fails("expected distances [P], got {1, 2}", calibration.fit, siamese.ones(1, 2), { 1, 0 })
      fails("no rate of false accepts", calibration.threshold_at_far, { 1 }, { 1 }, 0.1)
   end)
end)

local function toy(opts)
   opts.encoder = nn.Sequential{ nn.Flatten{}, nn.Linear{ in_features = 4, out_features = 3 } }
   return siamese.Twin(opts)
end

local function toy_pairs(twin, n)
   local a = siamese.randn(n, 1, 2, 2)
   local same = siamese.rand(n):lt(0.5):float()
   local b = a + siamese.randn(n, 1, 2, 2) * (1.6 - 1.5 * same):view(n, 1, 1, 1)
   return a, b, same, siamese.no_grad(twin, a, b)
end

describe("a twin", function()
   it("verifies by its calibration, as it would by that threshold", function()
      siamese.manual_seed(1)
      local twin = toy{ distance = "l2" }
      local a, b, same, distances = toy_pairs(twin, 60)
      fails("threshold must be a number, got nil, and the twin is not calibrated", twin.verify, twin, a, b)
      fails("Twin:probability: the twin is not calibrated", twin.probability, twin, a, b)
      local c = twin:calibrate(distances, same, { far = 0.1 })
      assert.equal(c, twin.calibration)
      assert.same(twin:verify(a, b, c.threshold), twin:verify(a, b))
      assert.is_true(c:probability(distances) == twin:probability(a, b))
   end)

   it("with a head is calibrated on its logits", function()
      siamese.manual_seed(2)
      local twin = toy{ head = nn.WeightedL1{ features = 3 } }
      siamese.no_grad(function()
         twin.head.linear.weight:copy_(siamese.full({ 1, 3 }, -1))
      end)
      local a, b, same, logits = toy_pairs(twin, 60)
      local c = twin:calibrate(logits, same, { far = 0.1 })
      assert.same(twin:verify(a, b, 1 / (1 + math.exp(c.threshold))), twin:verify(a, b))
      assert.is_true(metrics.auc(-twin:probability(a, b), same) > 0.7)
   end)

   it("keeps its threshold, its map and their figures in its file", temporary(function(path)
      siamese.manual_seed(3)
      for _, method in ipairs{ "platt", "isotonic" } do
         local twin = toy{ distance = "l1" }
         local a, b, same, distances = toy_pairs(twin, 60)
         twin:calibrate(distances, same, { far = 0.1, method = method }):evaluate(distances, same)
         assert(twin:save(path))
         local again = assert(siamese.load_model(path))
         assert.same(twin.calibration:options(), again.calibration:options())
         assert.same(twin:verify(a, b), again:verify(a, b))
         assert.is_true(twin:probability(a, b) == again:probability(a, b))
         local other = toy{ distance = "l1" }
         assert(other:load(path))
         assert.same(twin:verify(a, b), other:verify(a, b))
         assert(other.encoder:load(path, { strip_prefix = "encoder." }))
         assert.is_nil(other.encoder.calibration)
      end
   end))

   it("loses its calibration with its weights", temporary(function(path)
      siamese.manual_seed(4)
      local twin = toy{ distance = "l1" }
      assert(twin:save(path))
      local _, _, same, distances = toy_pairs(twin, 60)
      twin:calibrate(distances, same)
      assert(twin:load(path))
      assert.is_nil(twin.calibration)
   end))

   it("is not loaded with a calibration that is broken", temporary(function(path)
      local twin = toy{ distance = "l1" }
      twin:calibrate({ 1, 2, 3 }, { 1, 1, 0 })
      assert(twin:save(path))
      local bytes = assert(io.open(path, "rb")):read("a")
      for from, to in pairs{ ['\\"method\\":\\"platt\\"'] = '\\"method\\":\\"plott\\"',
         ['\\"threshold\\":2.5'] = '\\"threshole\\":2.5', ['\\"same\\":2'] = '\\"same\\":-',
         ['\\"accuracy\\":1.0'] = '\\"accuracy\\":nul' } do
         local at = assert(bytes:find(from, 1, true), from)
         files.write(path, bytes:sub(1, at - 1) .. to .. bytes:sub(at + #to))
         local loaded, why = siamese.load_model(path)
         assert.is_nil(loaded)
         assert.matches("the record of its model is broken", why)
      end
   end))
end)
