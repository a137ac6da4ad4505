package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/kelvin-ml/kelvin/thermo"
)

// Every how long a webhook is tried again, and for how long one try may take.
var (
	webhookPauses = []time.Duration{time.Second, 4 * time.Second, 16 * time.Second}
	webhookClient = &http.Client{Timeout: 10 * time.Second}
)

// A webhookDocument is what a webhook gets. Text is what chat programs show.
type webhookDocument struct {
	Schema  string         `json:"schema"`
	Text    string         `json:"text"`
	Run     string         `json:"run"`
	Step    int64          `json:"step"`
	Finding thermo.Finding `json:"finding"`
}

func checkWebhook(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q: expected an http or https URL", address)
	}
	return nil
}

// postFinding posts one finding, again after a pause if the server cannot be
// reached or fails. What it refuses for good (4xx but 429) is not posted again.
func postFinding(ctx context.Context, address, run string, step int64, f thermo.Finding) error {
	place := ""
	if f.Group != "" {
		place = "layer " + f.Group + ": "
	}
	body, err := json.Marshal(webhookDocument{schema, fmt.Sprintf("%s, step %d: %s%s. %s", run, step, place, f.What, f.Change), run, step, f})
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		again, err := post(ctx, address, body)
		if err == nil || !again || try == len(webhookPauses) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(webhookPauses[try]):
		}
	}
}

// post sends body once and reports whether to try again.
func post(ctx context.Context, address string, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := webhookClient.Do(request)
	if err != nil {
		return ctx.Err() == nil, err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16)) // so that the connection is used again
	code := response.StatusCode
	if code/100 == 2 {
		return false, nil
	}
	return code/100 == 5 || code == http.StatusTooManyRequests, fmt.Errorf("the webhook answered %s", response.Status)
}
