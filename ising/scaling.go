package ising

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Scaling is what finite-size scaling makes of several sizes
// (docs/theory.md, T9): exact values are Tc, 1/8, 7/4 and 1.
type Scaling struct {
	Crossings []Crossing
	Tc        thermo.Reading // where the Binder cumulants of neighbouring sizes cross
	Beta      thermo.Reading // β/ν of ⟨|m|⟩ ~ L^−β/ν at Tc
	Gamma     thermo.Reading // γ/ν of the susceptibility ~ L^γ/ν at Tc
	Nu        thermo.Reading // 1/ν of dBinder/dT ~ L^1/ν at Tc
}

// Crossing is where the Binder cumulants of two sizes cross.
type Crossing struct {
	Small, Large int
	Temperature  thermo.Reading
	Binder       float64
}

// Sized is the points of one size, at temperatures around the critical one.
type Sized struct {
	Size   int
	Points []Point
}

// ScalingPoints simulates each size at seven temperatures around guess, in a
// window that narrows as 1/L, by Wolff clusters.
func ScalingPoints(ctx context.Context, sizes []int, guess float64, sweeps, replicas int, seed uint64) ([]Sized, error) {
	var out []Sized
	for i, size := range sizes {
		var temperatures []float64
		for k := -3; k <= 3; k++ {
			temperatures = append(temperatures, guess+float64(k)/3/float64(size))
		}
		sim, err := New(Config{Model: Model{Lattice: Square, Size: size, Coupling: 1}, Temperatures: temperatures, Algorithm: Wolff,
			Sweeps: sweeps, Warmup: 200, Interval: 1, Replicas: replicas, Seed: seed + uint64(i)})
		if err != nil {
			return nil, err
		}
		if err := sim.Run(ctx); err != nil {
			return nil, fmt.Errorf("size %d: %w", size, err)
		}
		out = append(out, Sized{size, sim.Points()})
	}
	return out, nil
}

// parabola is a weighted least-squares fit y = a + b u + c u² about a centre.
type parabola struct {
	coefficients [3]float64
	covariance   [3][3]float64
}

// fitParabola fits readings at temperatures about centre; transform maps a
// value and its error (the logarithm, say).
func fitParabola(points []Point, centre float64, pick func(Point) (value, stderr float64)) (parabola, error) {
	var p parabola
	if len(points) < 4 {
		return p, errors.New("a parabola through noise needs four temperatures or more")
	}
	rows, y := mat.NewDense(len(points), 3, nil), mat.NewVecDense(len(points), nil)
	for i, point := range points {
		value, stderr := pick(point)
		if !(stderr > 0) || math.IsInf(stderr, 0) {
			return p, fmt.Errorf("no error bar at temperature %g", point.Temperature)
		}
		u := point.Temperature - centre
		rows.SetRow(i, []float64{1 / stderr, u / stderr, u * u / stderr})
		y.SetVec(i, value/stderr)
	}
	var normal, inverse mat.Dense
	normal.Mul(rows.T(), rows)
	if err := inverse.Inverse(&normal); err != nil {
		var condition mat.Condition
		if !errors.As(err, &condition) || math.IsInf(float64(condition), 1) {
			return p, fmt.Errorf("fitting a parabola: %w", err)
		}
	}
	var right, solution mat.VecDense
	right.MulVec(rows.T(), y)
	solution.MulVec(&inverse, &right)
	for i := range 3 {
		p.coefficients[i] = solution.AtVec(i)
		for j := range 3 {
			p.covariance[i][j] = inverse.At(i, j)
		}
	}
	return p, nil
}

// at returns value and variance at u.
func (p parabola) at(u float64) (value, variance float64) {
	basis := [3]float64{1, u, u * u}
	return p.combine(basis)
}

// slope returns the derivative and its variance at u.
func (p parabola) slope(u float64) (value, variance float64) {
	return p.combine([3]float64{0, 1, 2 * u})
}

func (p parabola) combine(basis [3]float64) (value, variance float64) {
	for i, a := range basis {
		value += a * p.coefficients[i]
		for j, b := range basis {
			variance += a * b * p.covariance[i][j]
		}
	}
	return value, variance
}

func binderOf(p Point) (float64, float64) { return p.Binder.Value, p.Binder.StdErr }

// FiniteSizeScaling reads the critical temperature and the exponents off
// points of three sizes or more, in ascending order.
func FiniteSizeScaling(data []Sized) (Scaling, error) {
	if len(data) < 3 {
		return Scaling{}, fmt.Errorf("%d sizes: expected three or more", len(data))
	}
	var s Scaling
	centre := 0.0
	binder := make([]parabola, len(data))
	for i, d := range data {
		if i > 0 && d.Size <= data[i-1].Size {
			return s, errors.New("sizes are not in ascending order")
		}
		if len(d.Points) == 0 {
			return s, fmt.Errorf("size %d: no points", d.Size)
		}
		if i == 0 {
			centre = d.Points[len(d.Points)/2].Temperature
		}
		var err error
		if binder[i], err = fitParabola(d.Points, centre, binderOf); err != nil {
			return s, fmt.Errorf("size %d: Binder cumulant: %w", d.Size, err)
		}
	}
	var weight, sum float64
	for i := 1; i < len(data); i++ {
		c, err := cross(data[i-1].Size, data[i].Size, binder[i-1], binder[i], centre)
		if err != nil {
			return s, err
		}
		s.Crossings = append(s.Crossings, c)
		w := 1 / (c.Temperature.StdErr * c.Temperature.StdErr)
		weight, sum = weight+w, sum+w*c.Temperature.Value
	}
	// Neighbouring crossings share a size with opposite sign, so adding their
	// variances as if independent overstates the error, if anything.
	s.Tc = thermo.Reading{Name: "critical temperature", Unit: "energy/nat", Value: sum / weight, StdErr: 1 / math.Sqrt(weight)}
	return s, s.exponents(data, binder, centre)
}

// cross finds where two parabolas meet, by Newton's method.
func cross(small, large int, a, b parabola, centre float64) (Crossing, error) {
	u := 0.0
	for range 50 {
		va, _ := a.at(u)
		vb, _ := b.at(u)
		sa, _ := a.slope(u)
		sb, _ := b.slope(u)
		u -= (va - vb) / (sa - sb)
	}
	va, varA := a.at(u)
	vb, varB := b.at(u)
	sa, _ := a.slope(u)
	sb, _ := b.slope(u)
	stderr := math.Sqrt(varA+varB) / math.Abs(sa-sb)
	if !(math.Abs(va-vb) < 1e-9) || math.IsNaN(stderr) {
		return Crossing{}, fmt.Errorf("the Binder cumulants of sizes %d and %d do not cross", small, large)
	}
	return Crossing{small, large, thermo.Reading{Name: "crossing", Unit: "energy/nat", Value: centre + u, StdErr: stderr}, va}, nil
}

// exponents fits powers of L at the critical temperature just found, whose
// error enters through the slopes.
func (s *Scaling) exponents(data []Sized, binder []parabola, centre float64) error {
	logs := func(pick func(Point) thermo.Reading) func(Point) (float64, float64) {
		return func(p Point) (float64, float64) {
			r := pick(p)
			return math.Log(r.Value), r.StdErr / r.Value
		}
	}
	magnetisation := logs(func(p Point) thermo.Reading { return p.AbsMagnetisation })
	susceptibility := logs(func(p Point) thermo.Reading { return p.Susceptibility })
	u := s.Tc.Value - centre
	var logL []float64
	var m, x, b [3][]float64 // values, variances, derivatives by Tc
	put := func(to *[3][]float64, value, variance, derivative float64) {
		to[0], to[1], to[2] = append(to[0], value), append(to[1], variance), append(to[2], derivative)
	}
	for i, d := range data {
		logL = append(logL, math.Log(float64(d.Size)))
		fm, err := fitParabola(d.Points, centre, magnetisation)
		if err != nil {
			return fmt.Errorf("size %d: magnetisation: %w", d.Size, err)
		}
		fx, err := fitParabola(d.Points, centre, susceptibility)
		if err != nil {
			return fmt.Errorf("size %d: susceptibility: %w", d.Size, err)
		}
		for _, f := range []struct {
			to  *[3][]float64
			fit parabola
		}{{&m, fm}, {&x, fx}} {
			value, variance := f.fit.at(u)
			slope, _ := f.fit.slope(u)
			put(f.to, value, variance, slope)
		}
		slope, variance := binder[i].slope(u)
		put(&b, math.Log(-slope), variance/(slope*slope), 2*binder[i].coefficients[2]/slope)
	}
	s.Beta = power("beta/nu", logL, m, s.Tc.StdErr, -1)
	s.Gamma = power("gamma/nu", logL, x, s.Tc.StdErr, 1)
	s.Nu = power("1/nu", logL, b, s.Tc.StdErr, 1)
	return nil
}

// power fits y = a + p ln L and returns sign·p.
func power(name string, logL []float64, y [3][]float64, tcError, sign float64) thermo.Reading {
	var w, wx, wxx, wy, wxy, wd, wxd float64
	for i, x := range logL {
		k := 1 / y[1][i]
		w, wx, wxx = w+k, wx+k*x, wxx+k*x*x
		wy, wxy = wy+k*y[0][i], wxy+k*x*y[0][i]
		wd, wxd = wd+k*y[2][i], wxd+k*x*y[2][i]
	}
	determinant := w*wxx - wx*wx
	p := (w*wxy - wx*wy) / determinant
	shift := (w*wxd - wx*wd) / determinant * tcError
	return thermo.Reading{Name: name, Unit: "1", Value: sign * p, StdErr: math.Sqrt(w/determinant + shift*shift)}
}
