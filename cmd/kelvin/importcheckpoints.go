package main

import (
	"context"
	"math"

	"github.com/kelvin-ml/kelvin/checkpoint"
	runs "github.com/kelvin-ml/kelvin/run"
	"github.com/kelvin-ml/kelvin/spectrum"
	"github.com/kelvin-ml/kelvin/trajectory"
	"github.com/spf13/cobra"
)

// importCheckpoints reads how far every layer has come at each checkpoint.
func importCheckpoints(cmd *cobra.Command, points []trajectory.Point) ([]runs.Record, error) {
	first, err := checkpoint.Open(points[0].Path)
	if err != nil {
		return nil, err
	}
	defer first.Close()
	show := progress(cmd.ErrOrStderr(), "reading checkpoints")
	var records []runs.Record
	for i, p := range points {
		list, err := importCheckpoint(cmd.Context(), first, points[max(0, i-1)], p)
		if err != nil {
			return nil, err
		}
		records = append(records, list...)
		show(i+1, len(points))
	}
	return records, nil
}

func importCheckpoint(ctx context.Context, first *checkpoint.File, earlier, p trajectory.Point) ([]runs.Record, error) {
	now, err := checkpoint.Open(p.Path)
	if err != nil {
		return nil, err
	}
	defer now.Close()
	before, err := checkpoint.Open(earlier.Path)
	if err != nil {
		return nil, err
	}
	defer before.Close()
	layers, err := trajectory.Layers(ctx, first, before, now)
	if err != nil {
		return nil, err
	}
	whole := map[string]float64{"weight_norm": 0, "displacement": 0}
	records := []runs.Record{{Time: p.Time, Step: p.Step, Kind: runs.KindStep, Values: whole}}
	var weight2, displacement2 float64
	for _, l := range layers {
		values := map[string]float64{"parameters": float64(l.Parameters), "weight_norm": math.Sqrt(l.Weight2), "displacement": math.Sqrt(l.Displacement2)}
		if steps := p.Step - earlier.Step; steps > 0 {
			values["diffusion"] = l.Moved2 / (2 * float64(l.Parameters) * float64(steps))
		}
		if err := addSpectrum(ctx, l, values); err != nil {
			return nil, err
		}
		records = append(records, runs.Record{Time: p.Time, Step: p.Step, Kind: runs.KindLayer, Layer: l.Name, Values: values})
		weight2, displacement2 = weight2+l.Weight2, displacement2+l.Displacement2
	}
	whole["weight_norm"], whole["displacement"] = math.Sqrt(weight2), math.Sqrt(displacement2)
	return records, nil
}

// addSpectrum reads the largest matrix of a layer. One without a spectrum, zero
// say, has none.
func addSpectrum(ctx context.Context, l trajectory.Layer, values map[string]float64) error {
	views := spectrum.Views(l.Largest)
	if l.Largest.Name == "" || len(views) == 0 {
		return nil
	}
	s, err := spectrum.Measure(ctx, l.Largest, views[0], spectrum.Options{Resamples: 20})
	if err != nil {
		return ctx.Err()
	}
	if s.SpectralNorm.Valid() {
		values["spectral_norm"] = s.SpectralNorm.Value
	}
	if s.StableRank.Valid() {
		values["stable_rank"] = s.StableRank.Value
	}
	if s.Entropy.Valid() {
		values["spectral_entropy"] = s.Entropy.Value
	}
	if s.Alpha.Valid() {
		values["alpha"] = s.Alpha.Value
	}
	return nil
}
