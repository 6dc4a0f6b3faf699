// Command judge says what tools that users have make of Kubernetes objects: kstatus, by the library that Flux uses, and a health check of Argo
// CD's, which is a script in Lua. It reads objects as JSON, one after the other, from its standard input, and prints one line of JSON for each.
//
// It is a module of its own because its requirements would move versions that Kubernetes has settled.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// verdict is what one of them says.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// verdicts is what both say of one object.
type verdicts struct {
	Kstatus verdict `json:"kstatus"`
	ArgoCD  verdict `json:"argoCd"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: judge HEALTH_CHECK.lua")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(path string, in io.Reader, out io.Writer) error {
	script, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("failed to read the health check: %w", err)
	}
	objects, lines := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var text json.RawMessage
		switch err := objects.Decode(&text); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("failed to read an object: %w", err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(text); err != nil {
			return fmt.Errorf("failed to understand an object: %w", err)
		}
		both, err := judge(string(script), object)
		if err != nil {
			return err
		}
		if err := lines.Encode(both); err != nil {
			return fmt.Errorf("failed to print: %w", err)
		}
	}
}

func judge(script string, object *unstructured.Unstructured) (verdicts, error) {
	kstatus, err := byKstatus(object)
	if err != nil {
		return verdicts{}, fmt.Errorf("failed to judge by kstatus: %w", err)
	}
	argoCD, err := byHealthCheck(script, object)
	if err != nil {
		return verdicts{}, fmt.Errorf("failed to judge by the health check: %w", err)
	}
	return verdicts{Kstatus: kstatus, ArgoCD: argoCD}, nil
}
