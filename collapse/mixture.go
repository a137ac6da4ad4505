package collapse

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
)

// components is the number of components of the mixture.
const components = 4

// mixture is a mixture of normal distributions in the plane.
type mixture struct {
	world  *mixture // nil for the world itself
	weight [components]float64
	mean   [components][2]float64
	cov    [components][3]float64 // xx, xy, yy
}

// NewMixture returns a world of four normal clouds in the plane, of unequal
// weights, refitted by expectation maximisation.
func NewMixture() *World {
	truth := &mixture{weight: [components]float64{0.4, 0.3, 0.2, 0.1}}
	for k := range components {
		truth.mean[k] = [2]float64{3 * float64(2*(k%2)-1), 3 * float64(2*(k/2)-1)}
		truth.cov[k] = [3]float64{1, 0, 1}
	}
	return plane("mixture", truth, func() Model { return &mixture{world: truth} })
}

// plane is a world of points; its tail is the tenth where they are least dense.
func plane(name string, truth *mixture, model func() Model) *World {
	points, err := truth.Sample(20_000, 1, rand.New(rand.NewPCG(0, 0)))
	if err != nil {
		panic(err) // the truth can be sampled
	}
	densities := make([]float64, points.Len())
	for i := range densities {
		densities[i] = truth.logDensity(points.X[2*i], points.X[2*i+1])
	}
	slices.Sort(densities)
	edge := densities[len(densities)/10]
	return &World{Name: name, Truth: truth, New: model, Tail: func(d Data, i int) bool { return truth.logDensity(d.X[2*i], d.X[2*i+1]) < edge }}
}

// logTerms sets the logarithms of weight times density of the components.
func (m *mixture) logTerms(x, y float64, terms *[components]float64) (largest float64) {
	largest = math.Inf(-1)
	for k := range components {
		c := m.cov[k]
		det := c[0]*c[2] - c[1]*c[1]
		dx, dy := x-m.mean[k][0], y-m.mean[k][1]
		q := (c[2]*dx*dx - 2*c[1]*dx*dy + c[0]*dy*dy) / det
		terms[k] = math.Log(m.weight[k]) - math.Log(2*math.Pi) - 0.5*math.Log(det) - 0.5*q
		largest = math.Max(largest, terms[k])
	}
	return largest
}

func (m *mixture) logDensity(x, y float64) float64 {
	var terms [components]float64
	largest, sum := m.logTerms(x, y, &terms), 0.0
	for _, t := range terms {
		sum += math.Exp(t - largest)
	}
	return largest + math.Log(sum)
}

// Fit runs expectation maximisation from the components of the world, so that
// generations can be compared component by component, until it stands.
func (m *mixture) Fit(data Data, _ *rand.Rand) error {
	n := data.Len()
	if n < 3 {
		return errors.New("mixture: fewer than three points")
	}
	m.weight, m.mean, m.cov = m.world.weight, m.world.mean, m.world.cov
	last := math.Inf(-1)
	for range 500 {
		var weight [components]float64
		var first [components][2]float64
		var second [components][3]float64
		value := 0.0
		var terms [components]float64
		for i := range n {
			x, y := data.X[2*i], data.X[2*i+1]
			largest, sum := m.logTerms(x, y, &terms), 0.0
			for k := range terms {
				terms[k] = math.Exp(terms[k] - largest)
				sum += terms[k]
			}
			value += (largest + math.Log(sum)) / float64(n)
			for k := range terms {
				r := terms[k] / sum
				weight[k] += r
				first[k][0] += r * x
				first[k][1] += r * y
				second[k][0] += r * x * x
				second[k][1] += r * x * y
				second[k][2] += r * y * y
			}
		}
		for k := range components {
			if weight[k] < 1e-3 { // a component that died keeps its place, at no weight
				m.weight[k] = 1e-300
				continue
			}
			m.weight[k] = weight[k] / float64(n)
			mx, my := first[k][0]/weight[k], first[k][1]/weight[k]
			m.mean[k] = [2]float64{mx, my}
			// The floor keeps a component from the point that it could fit infinitely well.
			m.cov[k] = [3]float64{second[k][0]/weight[k] - mx*mx + 1e-4, second[k][1]/weight[k] - mx*my, second[k][2]/weight[k] - my*my + 1e-4}
		}
		if value-last < 1e-7 {
			break
		}
		last = value
	}
	return nil
}

// Sample draws from p^(1/τ) by rejection. With a_k the terms of the density,
// (Σ a_k)^(1/τ) is at most Σ a_k^(1/τ) for τ ≥ 1, and K^(1/τ − 1) times that for
// τ < 1: both are mixtures of normals whose covariance is τ times as large.
func (m *mixture) Sample(n int, temperature float64, r *rand.Rand) (Data, error) {
	d := Data{Width: 2, X: make([]float64, 0, 2*n)}
	var cumulative [components]float64
	sum := 0.0
	for k := range components {
		c := m.cov[k]
		det := c[0]*c[2] - c[1]*c[1]
		// ∫ (w N)^(1/τ) = w^(1/τ) (2π)^(1 − 1/τ) det^((1 − 1/τ)/2) τ
		sum += math.Exp((math.Log(m.weight[k]) - (math.Log(2*math.Pi)+0.5*math.Log(det))*(1-temperature)) / temperature)
		cumulative[k] = sum
	}
	bound := 0.0
	if temperature < 1 {
		bound = (1/temperature - 1) * math.Log(components)
	}
	var terms [components]float64
	for len(d.X) < 2*n {
		k, _ := slices.BinarySearch(cumulative[:], r.Float64()*sum)
		k = min(k, components-1)
		c := m.cov[k]
		a := math.Sqrt(c[0])
		b := c[1] / a
		e := math.Sqrt(math.Max(c[2]-b*b, 0))
		u, v := r.NormFloat64()*math.Sqrt(temperature), r.NormFloat64()*math.Sqrt(temperature)
		x, y := m.mean[k][0]+a*u, m.mean[k][1]+b*u+e*v
		if temperature != 1 {
			largest := m.logTerms(x, y, &terms)
			whole, envelope := 0.0, 0.0
			for _, t := range terms {
				whole += math.Exp(t - largest)
				envelope += math.Exp((t - largest) / temperature)
			}
			if math.Log(1-r.Float64()) > math.Log(whole)/temperature-math.Log(envelope)-bound {
				continue
			}
		}
		d.X = append(d.X, x, y)
	}
	return d, nil
}

// Entropy is −⟨ln p⟩ over 2,000 draws.
func (m *mixture) Entropy(r *rand.Rand) float64 {
	d, err := m.Sample(2000, 1, r)
	if err != nil {
		return math.NaN()
	}
	return m.Energy(d)
}

func (m *mixture) Energy(data Data) float64 {
	e := 0.0
	for i := range data.Len() {
		e -= m.logDensity(data.X[2*i], data.X[2*i+1]) / float64(data.Len())
	}
	return e
}

// Temperature is the virial one of the spread within the clouds: the points'
// mean square distance from the centre of the nearest cloud, over its variances.
func (m *mixture) Temperature(data Data) float64 {
	sum := 0.0
	var terms [components]float64
	for i := range data.Len() {
		x, y := data.X[2*i], data.X[2*i+1]
		largest, total, t := m.logTerms(x, y, &terms), 0.0, 0.0
		for k := range terms {
			w := math.Exp(terms[k] - largest)
			c := m.cov[k]
			dx, dy := x-m.mean[k][0], y-m.mean[k][1]
			total += w
			t += w * (c[2]*dx*dx - 2*c[1]*dx*dy + c[0]*dy*dy) / (c[0]*c[2] - c[1]*c[1]) / 2
		}
		sum += t / total
	}
	return sum / float64(data.Len())
}

// planeVariance is the mean of the logarithms of both variances.
func planeVariance(data Data) float64 {
	v := 0.0
	for axis := range 2 {
		mean, square := 0.0, 0.0
		for i := range data.Len() {
			d := data.X[2*i+axis] - mean
			mean += d / float64(i+1)
			square += d * (data.X[2*i+axis] - mean)
		}
		v += 0.5 * math.Log(square/float64(data.Len()))
	}
	return v
}

// planeSpread is the spread of points compared with that of the clouds.
func planeSpread(data Data) float64 { return math.Exp((planeVariance(data) - worldVariance) / 2) }

// worldVariance is the mean logarithm of both variances of the four clouds: 1 of
// each cloud, and 9(1 − (p − q)²) of where they are.
var worldVariance = 0.5 * (math.Log(1+9*(1-0.2*0.2)) + math.Log(1+9*(1-0.4*0.4)))

func (m *mixture) Diversity(data Data) float64   { return planeSpread(data) }
func (m *mixture) LogVariance(data Data) float64 { return planeVariance(data) }
