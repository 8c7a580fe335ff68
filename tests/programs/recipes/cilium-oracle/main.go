// Command cilium-oracle answers probes with the policy code of Cilium itself.
//
// It reads one JSON request a line (the objects of a cluster, options of the agent, probes) and
// writes one JSON response a line. For each node that runs a pod which a probe asks about it builds
// what the agent on that node holds: identities, addresses (the ipcache) and the policy
// repository. A verdict is looked up in the policy map that this agent would load for the pod.
// Nothing is sent anywhere: there is no cluster, no kernel feature and no running agent.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2/validator"
	"github.com/cilium/cilium/pkg/labelsfilter"
)

// oracle is what all requests share.
type oracle struct {
	log    *slog.Logger
	schema *validator.NPValidator
}

func newOracle() (*oracle, error) {
	log := slog.New(slog.DiscardHandler)
	// Without it the filter of identity labels panics; no arguments mean Cilium's default list.
	if err := labelsfilter.ParseLabelPrefixCfg(log, nil, nil, ""); err != nil {
		return nil, err
	}
	schema, err := validator.NewNPValidator(log)
	if err != nil {
		return nil, err
	}
	return &oracle{log: log, schema: schema}, nil
}

// answer judges one request. What goes wrong with the request as a whole is in the response.
func (o *oracle) answer(line []byte) (r response) {
	r = newResponse()
	defer func() {
		if problem := recover(); problem != nil {
			r.Error = fmt.Sprintf("Cilium's code panics: %v", problem)
		}
	}()
	q, err := readRequest(line)
	r.ID = q.ID
	if err != nil {
		r.Error = err.Error()
		return r
	}
	c, err := readCluster(q.Objects)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	if err := q.Options.apply(); err != nil {
		r.Error = err.Error()
		return r
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	agents := &agents{oracle: o, cluster: c, options: q.Options, of: map[string]*agent{}}
	defer agents.shutdown()
	for _, p := range q.Probes {
		r.Answers = append(r.Answers, agents.ask(ctx, p))
	}
	one, err := agents.first(ctx)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	// Every agent reads the policies alike.
	r.Errors = append(r.Errors, one.refusals...)
	return r
}

func run(in io.Reader, out io.Writer) error {
	o, err := newOracle()
	if err != nil {
		return err
	}
	lines, results := bufio.NewReader(in), json.NewEncoder(out)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			if err := results.Encode(o.answer(line)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cilium-oracle:", err)
		os.Exit(2)
	}
}
