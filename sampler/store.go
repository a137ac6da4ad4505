package sampler

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// numbers are stored in base64, as float64 in little-endian order: half as long as
// text, and any value. An array of JSON is read too.
type numbers []float64

// MarshalJSON implements [json.Marshaler].
func (x numbers) MarshalJSON() ([]byte, error) {
	raw := make([]byte, 0, 8*len(x))
	for _, v := range x {
		raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
	}
	return json.Marshal(raw)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (x *numbers) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, (*[]float64)(x))
	}
	var raw []byte
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	if len(raw)%8 != 0 {
		return fmt.Errorf("expected float64 numbers in base64, got %d bytes", len(raw))
	}
	*x = make(numbers, len(raw)/8)
	for i := range *x {
		(*x)[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return nil
}

// named is a kernel with its type, so that it can be stored.
type named struct{ Kernel }

type storedKernel struct {
	Type     string          `json:"type"`
	Settings json.RawMessage `json:"settings"`
}

// MarshalJSON writes the kernel's type and settings.
func (k named) MarshalJSON() ([]byte, error) {
	settings, err := json.Marshal(k.Kernel)
	if err != nil {
		return nil, err
	}
	return json.Marshal(storedKernel{fmt.Sprintf("%T", k.Kernel), settings})
}

// UnmarshalJSON reads what MarshalJSON wrote. Kernels of other packages cannot
// be read back.
func (k *named) UnmarshalJSON(data []byte) error {
	var stored storedKernel
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	var err error
	switch stored.Type {
	case "sampler.SGLD":
		k.Kernel, err = decode[SGLD](stored.Settings)
	case "sampler.PSGLD":
		k.Kernel, err = decode[PSGLD](stored.Settings)
	case "sampler.MALA":
		k.Kernel, err = decode[MALA](stored.Settings)
	case "sampler.SGHMC":
		k.Kernel, err = decode[SGHMC](stored.Settings)
	case "sampler.SGNHT":
		k.Kernel, err = decode[SGNHT](stored.Settings)
	case "sampler.HMC":
		k.Kernel, err = decode[HMC](stored.Settings)
	case "sampler.NUTS":
		k.Kernel, err = decode[NUTS](stored.Settings)
	default:
		err = fmt.Errorf("unknown kernel %.40q", stored.Type)
	}
	return err
}

func decode[K Kernel](settings json.RawMessage) (Kernel, error) {
	var k K
	err := json.Unmarshal(settings, &k)
	return k, err
}

// UnmarshalJSON reads a stored result and checks that its parts fit together.
func (r *Result) UnmarshalJSON(data []byte) error {
	type plain Result // without this method
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return fmt.Errorf("stored chains: %w", err)
	}
	if len(r.Chains) == 0 || len(r.Names) == 0 || r.Thin < 1 || !(r.Temperature > 0) {
		return fmt.Errorf("stored chains: expected chains, names, thin and temperature")
	}
	for i, c := range r.Chains {
		if err := r.checkChain(c); err != nil {
			return fmt.Errorf("stored chain %d: %w", i+1, err)
		}
	}
	return nil
}

func (r *Result) checkChain(c *Chain) error {
	if c == nil || c.State == nil || c.Kernel.Kernel == nil {
		return fmt.Errorf("expected a state and a kernel")
	}
	s, names, kept := c.State, len(r.Names), c.Kept()
	k := len(s.Theta)
	for _, f := range []struct {
		name      string
		got, want int
	}{
		{"theta", k, len(r.Chains[0].State.Theta)}, {"gradient", len(s.Gradient), k}, {"centre", len(c.Centre), k}, {"weights", len(c.Weights), k},
		{"draws", len(c.Draws), kept * names}, {"virial", len(c.Virial), kept}, {"gradient2", len(c.Gradient2), kept},
		{"moments", len(c.Moments.Mean), names}, {"moments", len(c.Moments.M2), names}, {"total", len(c.Total.Mean), 1}, {"total", len(c.Total.M2), 1},
	} {
		if f.got != f.want {
			return fmt.Errorf("%s: expected %d values, got %d", f.name, f.want, f.got)
		}
	}
	if squares := len(c.Energy2); r.Thin > 1 && squares != kept {
		return fmt.Errorf("energy2: expected %d values, got %d", kept, squares)
	}
	if n := len(c.Kinetic); n != 0 && n != kept || len(c.Curvature) != 0 && len(c.Curvature) != kept {
		return fmt.Errorf("expected traces of %d values", kept)
	}
	if err := checkState(s, c.Kernel.Kernel, k); err != nil {
		return err
	}
	if c.Ensemble == nil {
		return nil
	}
	if err := c.Ensemble.check(k); err != nil {
		return fmt.Errorf("ensemble: %w", err)
	}
	return nil
}

func (e *Ensemble) check(k int) error {
	n := len(e.States)
	if n < 2 || len(e.Kernels) != n || len(e.Energy) != n || len(e.Replica) != n || len(e.FromHot) != n || len(e.Blocks) != n || len(e.Blocks2) != n || len(e.Swaps) != n-1 || len(e.Rejected) != n-1 || len(e.Tried) != n-1 {
		return fmt.Errorf("expected at least 2 rungs, and something of each, got %d states", n)
	}
	for i, s := range e.States {
		if s == nil || e.Kernels[i].Kernel == nil || len(s.Theta) != k || len(s.Gradient) != k || len(e.Energy[i].Mean) != 1 || len(e.Energy[i].M2) != 1 {
			return fmt.Errorf("rung %d: expected a state of %d parameters, a kernel and an energy", i+1, k)
		}
		if err := checkState(s, e.Kernels[i].Kernel, k); err != nil {
			return fmt.Errorf("rung %d: %w", i+1, err)
		}
		if r := e.Replica[i]; r < 0 || r >= n {
			return fmt.Errorf("rung %d: expected a replica below %d, got %d", i+1, n, r)
		}
	}
	return nil
}

func checkState(s *State, kernel Kernel, k int) error {
	if len(s.Momentum) != 0 && len(s.Momentum) != k || len(s.Scale) != 0 && len(s.Scale) != k {
		return fmt.Errorf("expected %d momenta and scales", k)
	}
	if needsMomentum(kernel) && s.Momentum == nil || needsScale(kernel) && s.Scale == nil || !(s.Temperature > 0) || k == 0 {
		return fmt.Errorf("the state does not fit the kernel %T", kernel)
	}
	if t, ok := kernel.(tunable); ok {
		return t.metric().prepare(k)
	}
	return nil
}

func needsMomentum(kernel Kernel) bool {
	switch kernel.(type) {
	case SGHMC, SGNHT, HMC, NUTS:
		return true
	}
	return false
}

func needsScale(kernel Kernel) bool {
	_, ok := kernel.(PSGLD)
	return ok
}
