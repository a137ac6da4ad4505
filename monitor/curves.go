package monitor

import (
	"context"
	"math"
	"slices"

	"github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/training"
	"gonum.org/v1/gonum/stat"
)

const (
	mostPoints = 4096 // of a curve: longer ones are averaged to as many
	heatBlock  = 8    // points behind one of the heat capacity

	virialTemperature = "temperature"
)

// readCurves makes the curves that tell the states of a run apart.
func readCurves(ctx context.Context, index *run.Index) ([]training.Curve, error) {
	list, err := index.List()
	if err != nil {
		return nil, err
	}
	var order, local, heats, norms []training.Curve
	var energy training.Curve
	parameters := 0.0
	for _, s := range list {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		used := s.Layer != "" && (s.Name == "centred_virial" || s.Name == "weight_norm") || s.Layer == "" && !slices.Contains(noOrder, s.Name)
		if !used {
			continue
		}
		c, err := readCurve(index, s)
		switch {
		case err != nil:
			return nil, err
		case s.Name == "loss":
			c.Name, c.Unit = "energy", "energy"
			energy = c
		case s.Layer == "":
			order = append(order, c)
		case s.Name == "weight_norm":
			norms = append(norms, mapped(c, "", "", func(x float64) float64 { return x * x }))
		default:
			k, err := parametersOf(index, s.Layer)
			if err != nil {
				return nil, err
			}
			if k > 0 {
				heats = append(heats, c)
				parameters += k
				local = append(local, mapped(c, virialTemperature, "energy/nat", func(x float64) float64 { return x / k }))
			}
		}
	}
	curves := []training.Curve{}
	temperature := mapped(sum(heats), virialTemperature, "energy/nat", func(x float64) float64 { return x / parameters })
	kinetic, err := kineticTemperature(index, parameters)
	if err != nil {
		return nil, err
	}
	norm := mapped(sum(norms), "weight norm", "θ", math.Sqrt)
	if len(local) == 1 {
		local = nil // it is the temperature of the whole
	}
	for _, c := range slices.Concat([]training.Curve{energy}, order, []training.Curve{temperature, kinetic, heatCapacity(energy, temperature), norm}, local) {
		if len(c.Values) > 0 {
			curves = append(curves, c)
		}
	}
	return curves, nil
}

func readCurve(index *run.Index, s run.Series) (training.Curve, error) {
	c := training.Curve{Name: s.Name, Layer: s.Layer}
	buckets, err := index.Buckets(s.Layer, s.Name, math.MinInt64, math.MaxInt64, mostPoints)
	for _, b := range buckets {
		if b.Points > 0 && !math.IsNaN(b.Mean) && !math.IsInf(b.Mean, 0) {
			c.Steps = append(c.Steps, float64(b.First)/2+float64(b.Last)/2)
			c.Values = append(c.Values, b.Mean)
		}
	}
	return c, err
}

// parametersOf returns how many a layer has, 0 when it is not recorded.
func parametersOf(index *run.Index, layer string) (float64, error) {
	sizes, err := index.Buckets(layer, "parameters", math.MinInt64, math.MaxInt64, 1)
	if err != nil || len(sizes) == 0 || !(sizes[0].Max >= 1) {
		return 0, err
	}
	return sizes[0].Max, nil
}

// kineticTemperature is (1+µ)|Δ|²/2ηk, empty unless the run is gradient descent
// with what that needs recorded.
func kineticTemperature(index *run.Index, parameters float64) (training.Curve, error) {
	var parts [3]training.Curve
	for i, name := range []string{"update_norm2", "learning_rate", "momentum"} {
		var err error
		if parts[i], err = readCurve(index, run.Series{Name: name}); err != nil {
			return training.Curve{}, err
		}
	}
	c := training.Curve{Name: "kinetic temperature", Unit: "energy/nat"}
	eta, mu := at(parts[1]), at(parts[2])
	for i, step := range parts[0].Steps {
		e, ok1 := eta[step]
		if m, ok2 := mu[step]; ok1 && ok2 && e > 0 && parameters > 0 {
			c.Steps, c.Values = append(c.Steps, step), append(c.Values, (1+m)*parts[0].Values[i]/(2*e*parameters))
		}
	}
	return c, nil
}

// at looks values up by their step.
func at(c training.Curve) map[float64]float64 {
	values := make(map[float64]float64, len(c.Steps))
	for i, step := range c.Steps {
		values[step] = c.Values[i]
	}
	return values
}

func mapped(c training.Curve, name, unit string, f func(float64) float64) training.Curve {
	values := make([]float64, len(c.Values))
	for i, x := range c.Values {
		values[i] = f(x)
	}
	return training.Curve{Name: name, Layer: c.Layer, Unit: unit, Steps: c.Steps, Values: values}
}

// sum adds up curves at the steps that all of them have.
func sum(curves []training.Curve) training.Curve {
	if len(curves) == 0 {
		return training.Curve{}
	}
	type entry struct {
		sum float64
		n   int
	}
	sums := map[float64]entry{}
	for _, c := range curves {
		for i, step := range c.Steps {
			e := sums[step]
			sums[step] = entry{e.sum + c.Values[i], e.n + 1}
		}
	}
	var total training.Curve
	for _, step := range curves[0].Steps {
		if e := sums[step]; e.n == len(curves) {
			total.Steps, total.Values = append(total.Steps, step), append(total.Values, e.sum)
		}
	}
	return total
}

// heatCapacity is ⟨δE²⟩/T² of blocks of records, δE about a line through the
// energies, where the temperature is significantly above zero. The energies are
// of minibatches: what their choice adds to δE² is in it.
func heatCapacity(energy, temperature training.Curve) training.Curve {
	c := training.Curve{Name: "heat capacity", Unit: "nat"}
	temperatureAt := at(temperature)
	for i := 0; i+heatBlock <= len(energy.Steps); i += heatBlock {
		steps, energies := energy.Steps[i:i+heatBlock], energy.Values[i:i+heatBlock]
		var temperatures []float64
		for _, step := range steps {
			if t, ok := temperatureAt[step]; ok {
				temperatures = append(temperatures, t)
			}
		}
		if len(temperatures) < heatBlock {
			continue
		}
		mean, deviation := stat.MeanStdDev(temperatures, nil)
		if mean < sigmas*deviation/math.Sqrt(heatBlock) {
			continue
		}
		offset, slope := stat.LinearRegression(steps, energies, nil, false)
		squares := 0.0
		for j, e := range energies {
			squares += math.Pow(e-offset-slope*steps[j], 2)
		}
		c.Steps = append(c.Steps, stat.Mean(steps, nil))
		c.Values = append(c.Values, squares/(heatBlock-2)/(mean*mean))
	}
	return c
}
