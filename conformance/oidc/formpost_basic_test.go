package oidc_test

import "testing"

// TestFormPostBasic is oidcc-formpost-basic-certification-test-plan: the modules
// of the basic plan, with every answer by a form.
func TestFormPostBasic(t *testing.T) { run(t, "formpost-basic", "form_post", basicPlan()) }
