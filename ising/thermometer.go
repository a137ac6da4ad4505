package ising

import (
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/thermo"
)

// classes is the number of kinds of site that the conditional probability
// tells apart: 13 spin + neighbours' sum + 6.
const classes = 26

// score is what the pseudo-likelihood of configurations needs. With β = 1/T
// and h = J Σ s' + H, a spin has probability 1/(1 + e^{−2βsh}) given its
// neighbours, so the score is Σ g, g = 2sh/(1 + e^{2βsh}).
//
// E[g | all other spins] = 0. So the g of two sites are uncorrelated unless
// the sites are neighbours, over whatever distance the spins are correlated,
// and Var Σg is a sum over sites and pairs of neighbours only: the standard
// error needs no blocks and no correlation length.
type score struct {
	model         Model // its size does not count
	width, height int
	sites         [classes]int64
	pairs         [classes][classes]int64 // ordered pairs of neighbours
}

// maxScored bounds the sites that one reading looks at; of larger
// configurations the first rows serve.
const maxScored = 1 << 22

// collect adds the first rows of a configuration, at most limit sites, and
// returns how many it took.
func (s *score) collect(spin func(x, y int) int8, limit int) int {
	width := s.width
	rows := min(s.height, max(MinSize, limit/width))
	class := make([]uint8, rows*width)
	var out [6]uint32
	at := func(i uint32) int8 { return spin(int(i)%width, int(i)/width) }
	for i := range class {
		x, y := i%width, i/width
		sum := 0
		for _, j := range out[:s.model.Lattice.neighbours(x, y, width, s.height, &out)] {
			sum += int(at(j))
		}
		class[i] = uint8(13*int(at(uint32(i))+1)/2 + sum + 6)
		s.sites[class[i]]++
	}
	for i, c := range class {
		for _, j := range out[:s.model.Lattice.neighbours(i%width, i/width, width, s.height, &out)] {
			if int(j) < len(class) {
				s.pairs[c][class[j]]++
			}
		}
	}
	return len(class)
}

// local returns s h of a class.
func (s *score) local(class int) float64 {
	spin, sum := float64(2*(class/13)-1), float64(class%13-6)
	return spin * (s.model.Coupling*sum + s.model.Field)
}

// at returns the score at β and its derivative's size, the information.
func (s *score) at(beta float64) (score, information float64) {
	for class, n := range s.sites {
		if n == 0 {
			continue
		}
		a := s.local(class)
		p := 1 / (1 + math.Exp(2*beta*a))
		score += float64(n) * 2 * a * p
		information += float64(n) * 4 * a * a * p * (1 - p)
	}
	return score, information
}

// variance returns Var Σg by the sum over sites and pairs of neighbours, and
// the part of the sites alone.
func (s *score) variance(beta float64) (all, alone float64) {
	var g [classes]float64
	for class := range g {
		a := s.local(class)
		g[class] = 2 * a / (1 + math.Exp(2*beta*a))
	}
	for c, row := range s.pairs {
		alone += float64(s.sites[c]) * g[c] * g[c]
		for d, n := range row {
			all += float64(n) * g[c] * g[d]
		}
	}
	return all + alone, alone
}

// bracket returns β below and above the root of the score; ok is false when
// the likelihood has no maximum.
func (s *score) bracket() (low, high float64, ok bool) {
	var satisfied, frustrated bool
	scale := 0.0
	for class, n := range s.sites {
		if a := s.local(class); n > 0 {
			satisfied = satisfied || a > 0
			frustrated = frustrated || a < 0
			scale = math.Max(scale, math.Abs(a))
		}
	}
	if !satisfied || !frustrated {
		return 0, 0, false
	}
	for low, high = -1/scale, 1/scale; ; low, high = 2*low, 2*high {
		atLow, _ := s.at(low)
		atHigh, _ := s.at(high)
		if atLow >= 0 && atHigh <= 0 {
			return low, high, true
		}
	}
}

// reading maximises the pseudo-likelihood.
func (s *score) reading() thermo.Reading {
	r := thermo.Reading{Name: "likelihood", Unit: "energy/nat", Value: math.NaN(), StdErr: math.NaN()}
	low, high, ok := s.bracket()
	if !ok {
		r.Invalid = "no spin is against its neighbours: the temperature is not distinguishable from zero"
		if first, _ := s.at(0); first < 0 {
			r.Invalid = "no spin is with its neighbours: the coupling may have the other sign"
		}
		return r
	}
	for range 200 {
		middle := (low + high) / 2
		if value, _ := s.at(middle); value > 0 {
			low = middle
		} else {
			high = middle
		}
	}
	beta := (low + high) / 2
	_, information := s.at(beta)
	variance, alone := s.variance(beta)
	if !(variance > 0) {
		r.Invalid = "too few spins for an error"
		return r
	}
	stderr := math.Sqrt(variance) / information
	var sites int64
	for _, n := range s.sites {
		sites += n
	}
	r.Value, r.StdErr = 1/beta, stderr/(beta*beta)
	r.ESS = float64(sites) * alone / variance
	if math.Abs(beta) < 2*stderr { // the error of T would be of no use
		r.Value, r.StdErr = math.NaN(), math.NaN()
		r.Invalid = fmt.Sprintf("1/T = %s agrees with zero: not distinguishable from infinite temperature", thermo.FormatError(beta, stderr))
	}
	return r
}

// Temperature reads the temperature of configurations that are independent of
// each other: the maximum of their pseudo-likelihood
// (docs/theory.md, T6.4 and T9). Each holds L² spins ±1, row by row. The
// standard error counts the correlation of the spins; one configuration is
// enough. Model gives the lattice, the coupling and the field; its unit of
// energy is the reading's.
func (m Model) Temperature(configurations ...[]int8) (thermo.Reading, error) {
	if err := m.Validate(); err != nil {
		return thermo.Reading{}, err
	}
	return m.TemperatureOf(m.Size, m.Size, configurations...)
}

// TemperatureOf is [Model.Temperature] of configurations of any width and
// height from [MinSize] to [MaxSize], odd ones too, but for the honeycomb
// lattice; the model's size does not count.
func (m Model) TemperatureOf(width, height int, configurations ...[]int8) (thermo.Reading, error) {
	m.Size = MinSize
	if err := m.Validate(); err != nil {
		return thermo.Reading{}, err
	}
	for _, side := range []int{width, height} {
		if side < MinSize || side > MaxSize || m.Lattice == Honeycomb && side%2 != 0 {
			even := ""
			if m.Lattice == Honeycomb {
				even = "even "
			}
			return thermo.Reading{}, fmt.Errorf("%d×%d spins: expected %snumbers from %d to %d", height, width, even, MinSize, MaxSize)
		}
	}
	s := score{model: m, width: width, height: height}
	limit := maxScored / max(1, len(configurations))
	for k, spins := range configurations {
		if len(spins) != width*height {
			return thermo.Reading{}, fmt.Errorf("configuration %d: expected %d spins, got %d", k, width*height, len(spins))
		}
		for i, x := range spins {
			if x != 1 && x != -1 {
				return thermo.Reading{}, fmt.Errorf("configuration %d: spin %d is %d, expected 1 or -1", k, i, x)
			}
		}
		s.collect(func(x, y int) int8 { return spins[y*width+x] }, limit)
	}
	if len(configurations) == 0 {
		return thermo.Reading{}, fmt.Errorf("no configuration")
	}
	return s.reading(), nil
}

// measuredTemperature reads the present configurations of a point's replicas.
func (s *Simulation) measuredTemperature(chains []*chain) thermo.Reading {
	sc := score{model: s.Config.Model, width: s.Config.Model.Size, height: s.Config.Model.Size}
	left := maxScored
	for _, c := range chains {
		for replica := range c.replicas {
			if left > 0 {
				left -= sc.collect(func(x, y int) int8 { return c.lattice.spin(x, y, replica) }, left)
			}
		}
	}
	return sc.reading()
}
