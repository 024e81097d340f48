# Mutation testing: small mistakes in the code, and whether a test notices. See mutate.py.
MUTATION_COUNT ?= 400
MUTATION_SEED  ?= 1

mutation: san ## make small mistakes in the code and run the tests that could notice; hours
	tests/mutation/mutate.py --all --count $(MUTATION_COUNT) --seed $(MUTATION_SEED) \
	    --json $(BUILD)/mutation/result.json
.PHONY: mutation
