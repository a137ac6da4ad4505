package cooling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kelvin-ml/kelvin/nn"
	"gonum.org/v1/gonum/floats"
)

// A Surrogate is a convolutional network that has learned, from solutions of the
// network, what currents do to the highest temperature and the power of every tile:
// two tasks of one network. It is faster than the exact way only where that is slow
// (docs/commands/cool.md).
type Surrogate struct {
	Array     *Array
	Network   *nn.Network[float32]
	Examples  int
	Steps     int
	Error     float64 // root mean square of the tiles' temperatures, K, on examples it has not seen
	PeakError float64 // of the peaks, K
	Power     float64 // of the tiles' power, W
	Training  time.Duration

	rows, columns int
	tile          []int // of every watched node
	powerScale    float64
}

const (
	surrogateChannels = 16
	surrogateHeldOut  = 0.2
	surrogateBatch    = 64
	kelvinScale       = 10.0
	currentScale      = 5.0 // of the share of the largest
)

// surrogateSpec is a network of two inception blocks (Szegedy et al., CVPR 2015):
// filters of three sizes beside each other, their outputs mixed by 1 × 1 filters.
func surrogateSpec(rows, columns int) nn.Spec {
	spec := nn.Spec{Input: []int{3, rows, columns}, Loss: "mse"}
	conv := func(name, from string, out, size int) {
		spec.Layers = append(spec.Layers, nn.LayerSpec{Type: "conv2d", Name: name, Inputs: []string{from}, Out: out, Kernel: []int{size}, Padding: []int{size / 2}})
	}
	activate := func(name, from string) {
		spec.Layers = append(spec.Layers, nn.LayerSpec{Type: "gelu", Name: name, Inputs: []string{from}})
	}
	from := "input"
	for block := range 2 {
		var branches []string
		for _, size := range []int{1, 3, 5} {
			name := fmt.Sprintf("b%d_%d", block, size)
			conv(name, from, surrogateChannels, size)
			activate(name+"_a", name)
			conv(name+"_mix", name+"_a", surrogateChannels, 1)
			branches = append(branches, name+"_mix")
		}
		name := fmt.Sprintf("b%d", block)
		spec.Layers = append(spec.Layers, nn.LayerSpec{Type: "add", Name: name, Inputs: branches})
		activate(name+"_a", name)
		from = name + "_a"
	}
	conv("maps", from, 2, 3)
	spec.Layers = append(spec.Layers, nn.LayerSpec{Type: "flatten"})
	return spec
}

// TrainSurrogate trains on examples of random powers (half of them the array's own)
// and random currents, all solved exactly. The tiles must lie in rows and columns and
// cover the chip. When ctx ends it returns its error.
func TrainSurrogate(ctx context.Context, a *Array, examples, steps int, seed uint64) (*Surrogate, error) {
	if examples < 10 || steps < 1 {
		return nil, fmt.Errorf("surrogate: expected at least 10 examples and 1 step, got %d and %d", examples, steps)
	}
	s := &Surrogate{Array: a, Examples: examples, Steps: steps}
	if err := s.lattice(); err != nil {
		return nil, err
	}
	begin := time.Now()
	random := rand.New(rand.NewPCG(seed, 0))
	var x, y []float32
	for i := 0; i < examples; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := s.example(i%2 == 0, random)
		if err != nil {
			return nil, err
		}
		state, ok := b.solveAt(s.randomCurrents(random))
		if !ok || state.peak > floats.Max(b.watchedOff())+kelvinScale {
			continue // it ran away, or nearly: no currents to choose
		}
		x = append(x, s.inputs(b, state.currents)...)
		y = append(y, s.targets(b, state)...)
		i++
	}
	network, err := nn.New[float32](surrogateSpec(s.rows, s.columns))
	if err != nil {
		return nil, err
	}
	if err := network.Init("he", random); err != nil {
		return nil, err
	}
	s.Network = network
	if err := s.fit(ctx, x, y, random); err != nil {
		return nil, err
	}
	s.Training = time.Since(begin)
	return s, s.judge(x, y)
}

// lattice finds the rows and columns of the tiles and the tile of every watched node.
func (s *Surrogate) lattice() error {
	tiles := s.Array.Tiles
	for _, t := range tiles {
		s.rows, s.columns = max(s.rows, t.Row+1), max(s.columns, t.Column+1)
		s.powerScale = max(s.powerScale, t.Resistance*t.MaxCurrent*t.MaxCurrent/10)
	}
	if s.rows*s.columns != len(tiles) {
		return fmt.Errorf("surrogate: expected a tile for every row and column, got %d for %d × %d", len(tiles), s.rows, s.columns)
	}
	for k, t := range tiles {
		if t.Row*s.columns+t.Column != k {
			return errors.New("surrogate: expected the tiles row by row from the north")
		}
	}
	m := s.Array.Model
	cells := m.Rows * m.Cols
	for _, node := range s.Array.watched {
		at := int(node) % cells
		x, y := (float64(at%m.Cols)+0.5)*m.Width/float64(m.Cols), (float64(m.Rows-1-at/m.Cols)+0.5)*m.Height/float64(m.Rows)
		k := slices.IndexFunc(tiles, func(t Tile) bool { return x >= t.X && x < t.X+t.Width && y >= t.Y && y < t.Y+t.Height })
		if k < 0 {
			return errors.New("surrogate: expected tiles that cover the chip")
		}
		s.tile = append(s.tile, k)
	}
	return nil
}

// example is the array with its own power scaled, or with as much spread evenly and
// in hot spots.
func (s *Surrogate) example(own bool, random *rand.Rand) (*Array, error) {
	a := s.Array
	power := make([]float64, a.first)
	if own {
		scale := 0.8 + 0.4*random.Float64()
		for i := range power {
			power[i] = scale * a.Power[i]
		}
	} else {
		total := floats.Sum(a.Power) * (0.5 + random.Float64())
		spots := random.IntN(20)
		share := random.Float64()
		if spots == 0 {
			share = 0
		}
		for _, node := range a.watched {
			power[node] += (1 - share) * total / float64(len(a.watched))
		}
		for range spots {
			power[a.watched[random.IntN(len(a.watched))]] += share * total / float64(spots)
		}
	}
	return a.WithPower(power)
}

func (s *Surrogate) randomCurrents(random *rand.Rand) []float64 {
	currents := make([]float64, len(s.Array.Tiles))
	on, strength := random.Float64(), 0.6*math.Pow(random.Float64(), 2) // most currents that are of use are small
	for k, t := range s.Array.Tiles {
		if random.Float64() < on {
			currents[k] = strength * random.Float64() * t.MaxCurrent
		}
	}
	return currents
}

// hottest returns the highest temperature over every tile.
func (s *Surrogate) hottest(watched []float64) []float64 {
	list := make([]float64, len(s.Array.Tiles))
	for i, k := range s.tile {
		list[k] = max(list[k], watched[i])
	}
	return list
}

// watchedOff returns the temperatures of the watched nodes without current.
func (a *Array) watchedOff() []float64 {
	list := make([]float64, len(a.watched))
	for i, node := range a.watched {
		list[i] = a.off[node]
	}
	return list
}

// inputs are three maps of the tiles: temperature without current, current, and the mean
// of the squared currents everywhere, as all that Joule heat warms the sink.
func (s *Surrogate) inputs(a *Array, currents []float64) []float32 {
	x := make([]float32, 0, 3*len(currents))
	for _, t := range s.hottest(a.watchedOff()) {
		x = append(x, float32((t-a.Model.Config.Ambient)/kelvinScale))
	}
	squares := 0.0
	for k, i := range currents {
		share := currentScale * i / a.Tiles[k].MaxCurrent
		x = append(x, float32(share))
		squares += share * share / float64(len(currents))
	}
	for range currents {
		x = append(x, float32(squares))
	}
	return x
}

// targets are two maps of the tiles: what the temperature changes by, and power.
func (s *Surrogate) targets(a *Array, state *state) []float32 {
	y := make([]float32, 0, 2*len(state.currents))
	off := s.hottest(a.watchedOff())
	for k, t := range s.hottest(state.watched) {
		y = append(y, float32((t-off[k])/kelvinScale))
	}
	power, _ := a.draw(state)
	for _, p := range power {
		y = append(y, float32(p/s.powerScale))
	}
	return y
}

func (s *Surrogate) fit(ctx context.Context, x, y []float32, random *rand.Rand) error {
	optimizer, err := nn.NewOptimizer[float32](nn.OptimizerSpec{Kind: "adam", LearningRate: 3e-3}, len(s.Network.Params))
	if err != nil {
		return err
	}
	in, size := 3*len(s.Array.Tiles), 2*len(s.Array.Tiles)
	trained := int(float64(s.Examples) * (1 - surrogateHeldOut))
	batch := nn.Batch[float32]{N: min(surrogateBatch, trained)}
	for step := range s.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		optimizer.Spec.LearningRate = 3e-3 * (1 + math.Cos(math.Pi*float64(step)/float64(s.Steps))) / 2
		batch.X, batch.Y = batch.X[:0], batch.Y[:0]
		for range batch.N {
			i := random.IntN(trained)
			batch.X, batch.Y = append(batch.X, x[i*in:(i+1)*in]...), append(batch.Y, y[i*size:(i+1)*size]...)
		}
		if _, err := s.Network.Backward(batch, nil); err != nil {
			return fmt.Errorf("surrogate: step %d: %w", step, err)
		}
		optimizer.Step(s.Network.Params, s.Network.Grad)
	}
	return nil
}

// predict returns the network's maps for examples of inputs.
func (s *Surrogate) predict(x []float32) ([]float32, error) {
	tiles := len(s.Array.Tiles)
	n := len(x) / (3 * tiles)
	if _, err := s.Network.Energy(nn.Batch[float32]{N: n, X: x, Y: make([]float32, 2*tiles*n)}); err != nil {
		return nil, fmt.Errorf("surrogate: %w", err)
	}
	return s.Network.Outputs(), nil
}

// judge measures the errors on the examples that were held out.
func (s *Surrogate) judge(x, y []float32) error {
	tiles := len(s.Array.Tiles)
	from := int(float64(s.Examples) * (1 - surrogateHeldOut))
	n := s.Examples - from
	x, y = x[3*tiles*from:], y[2*tiles*from:]
	predicted, err := s.predict(x)
	if err != nil {
		return err
	}
	var temperature, power, peak float64
	for e := range n {
		at := 2 * tiles * e
		highest, guessed := math.Inf(-1), math.Inf(-1)
		for k := range tiles {
			off := float64(x[3*tiles*e+k])
			temperature += math.Pow(float64(predicted[at+k]-y[at+k]), 2)
			power += math.Pow(float64(predicted[at+tiles+k]-y[at+tiles+k]), 2)
			highest, guessed = max(highest, off+float64(y[at+k])), max(guessed, off+float64(predicted[at+k]))
		}
		peak += math.Pow(highest-guessed, 2)
	}
	s.Error = kelvinScale * math.Sqrt(temperature/float64(n*tiles))
	s.Power = s.powerScale * math.Sqrt(power/float64(n*tiles))
	s.PeakError = kelvinScale * math.Sqrt(peak/float64(n))
	return nil
}

// A guess is currents and what the surrogate expects of them.
type guess struct {
	currents    []float64
	peak, power float64
}

const (
	searchRounds = 40
	searchWidth  = 256
	searchBest   = 24
)

// Optimise chooses the currents of the array that it learned from, or of one with other
// powers (WithPower), by the surrogate alone, with the cross-entropy method
// (Rubinstein, Methodology and Computing in Applied Probability 1, 127, 1999), and
// has the best of every round solved exactly, once. The solution is the best of these;
// expected is the peak that the surrogate foresaw for it.
func (s *Surrogate) Optimise(ctx context.Context, a *Array, maxPower float64, seed uint64) (solution *Solution, expected float64, err error) {
	random := rand.New(rand.NewPCG(seed, 1))
	tiles := len(a.Tiles)
	mean, spread := make([]float64, tiles), make([]float64, tiles)
	for k := range mean {
		mean[k], spread[k] = 0.1, 0.2
	}
	o := &optimiser{Array: a, price: powerPrice}
	off := o.evaluate(make([]float64, tiles))
	if off == nil {
		return nil, 0, errors.New("surrogate: the network with all coolers off has no solution")
	}
	best, state := guess{currents: off.currents, peak: off.peak}, off
	evaluations := 0
	for range searchRounds {
		if ctx.Err() != nil {
			break
		}
		guesses := make([]guess, searchWidth)
		var x []float32
		for g := range guesses {
			guesses[g].currents = make([]float64, tiles)
			for k, t := range a.Tiles {
				guesses[g].currents[k] = min(max(mean[k]+spread[k]*random.NormFloat64(), 0), 0.6) * t.MaxCurrent
			}
			x = append(x, s.inputs(a, guesses[g].currents)...)
		}
		y, err := s.predict(x)
		if err != nil {
			return nil, 0, err
		}
		evaluations += len(guesses)
		for g := range guesses {
			at := 2 * tiles * g
			guesses[g].peak = math.Inf(-1)
			for k := range tiles {
				guesses[g].peak = max(guesses[g].peak, a.Model.Config.Ambient+kelvinScale*float64(x[3*tiles*g+k]+y[at+k]))
				guesses[g].power += s.powerScale * float64(y[at+tiles+k])
			}
		}
		cost := func(g guess) float64 {
			if maxPower > 0 && g.power > maxPower {
				return g.peak + 100*(g.power-maxPower)
			}
			return g.peak + powerPrice*g.power
		}
		slices.SortFunc(guesses, func(a, b guess) int { return cmp.Compare(cost(a), cost(b)) })
		// The best of every round is solved: what the network is wrong about it also finds.
		if exact := o.evaluate(guesses[0].currents); exact != nil && (maxPower == 0 || o.total(exact) <= maxPower) && o.cost(exact) < o.cost(state) {
			best, state = guesses[0], exact
		}
		for k, t := range a.Tiles {
			sum, squares := 0.0, 0.0
			for _, g := range guesses[:searchBest] {
				share := g.currents[k] / t.MaxCurrent
				sum, squares = sum+share, squares+share*share
			}
			mean[k] = sum / searchBest
			spread[k] = math.Sqrt(max(squares/searchBest-mean[k]*mean[k], 0)) + 1e-3
		}
	}
	solution = &Solution{Currents: best.currents, After: state.peak, Before: math.Inf(-1), Bound: math.Inf(-1), Evaluations: evaluations + o.evaluations, Interrupted: ctx.Err() != nil}
	solution.Power, solution.Taken = a.draw(state)
	for _, node := range a.watched {
		solution.Before = max(solution.Before, a.Bare[node])
	}
	return solution, best.peak, nil
}
