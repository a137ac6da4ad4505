package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/sampler"
)

// runStored is run with a state on disk that a later run continues. It is
// stored ten times during the draws, so a killed run loses a tenth.
func (s *sampleSettings) runStored(ctx context.Context, density func(int) (sampler.Density, error), o sampler.Options, out string) (*sampleResult, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	r, err := s.restore(out)
	if err != nil {
		return nil, err
	}
	total := o.Draws
	part := max((total/10+o.Thin-1)/o.Thin*o.Thin, o.Thin)
	if r == nil {
		o.Draws = min(part, total)
		if r, err = sampler.Run(ctx, density, s.kernel(), o); r == nil {
			return nil, err
		}
	}
	for {
		if stored := s.store(out, r); stored != nil {
			return nil, stored
		}
		drawn := r.Chains[0].Moments.N
		for _, c := range r.Chains {
			drawn = min(drawn, c.Moments.N)
		}
		if drawn >= total || err != nil {
			return &sampleResult{Result: r}, err
		}
		if err = sampler.Extend(ctx, r, density, min(drawn+part, total), o.Progress); err != nil && ctx.Err() == nil {
			return nil, err
		}
	}
}

type sampleState struct {
	Schema   string          `json:"schema"`
	Settings json.RawMessage `json:"settings"`
	Result   *sampler.Result `json:"result"`
}

// restore returns the stored run of the same settings, or nil if there is none.
func (s *sampleSettings) restore(out string) (*sampler.Result, error) {
	path := filepath.Join(out, "state.json")
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var state sampleState
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	settings, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if state.Schema != schema || state.Result == nil || !bytes.Equal(state.Settings, settings) {
		return nil, fmt.Errorf("reading %s: it holds a run of another model, data or options; use another --out", path)
	}
	return state.Result, nil
}

func (s *sampleSettings) store(out string, r *sampler.Result) error {
	settings, err := json.Marshal(s)
	if err != nil {
		return err
	}
	text, err := json.Marshal(sampleState{schema, settings, r})
	if err != nil {
		return fmt.Errorf("storing the state: %w", err)
	}
	f, err := os.CreateTemp(out, ".state.json.*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, as it should, once renamed
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(f.Name(), filepath.Join(out, "state.json")), storeDraws(out, r))
}

// storeDraws writes one array per quantity, chains × draws.
func storeDraws(out string, r *sampler.Result) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var arrays []dataset.Array
	for i, name := range r.Names {
		chains := r.Chain(i)
		arrays = append(arrays, dataset.Array{Name: name, Shape: []int{len(chains), len(chains[0])}, Data: slices.Concat(chains...)})
	}
	return dataset.WriteArrays(filepath.Join(out, "draws.npz"), arrays)
}
