"""Prints template.yaml as CloudFormation would get it: expanded by SAM's own translator, with the
parameters and conditions settled. What only a deployment knows, Ref and Fn::GetAtt of resources,
stays as it is.

Usage: expand.py template.yaml '{"StripeMode": "test", …}'
"""

import json
import os
import sys

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

NO_VALUE = {"Ref": "AWS::NoValue"}


class NoManagedPolicies:
    """The template names no managed policy, so that nobody has to be asked for its ARN."""

    def load(self):
        return {}


def holds(condition, parameters, named):
    """Whether a condition holds, of the kinds that the template has; `named` has all of them."""
    ((function, arguments),) = condition.items()
    if function == "Condition":
        return holds(named[arguments], parameters, named)
    if function == "Fn::And":
        return all(holds(one, parameters, named) for one in arguments)
    if function == "Fn::Equals":
        one, other = settle(arguments, {}, parameters)
        return one == other
    if function == "Fn::Not":
        return not holds(arguments[0], parameters, named)
    raise ValueError(f"{function} in a condition is not known here")


def settle(value, names, parameters):
    """A value with parameters and Fn::If settled; `names` says which conditions hold."""
    if isinstance(value, list):
        settled = (settle(item, names, parameters) for item in value)
        return [item for item in settled if item != NO_VALUE]
    if not isinstance(value, dict):
        return value
    if "Ref" in value and value["Ref"] in parameters:
        return parameters[value["Ref"]]
    if "Fn::If" in value:
        name, then, otherwise = value["Fn::If"]
        return settle(then if names[name] else otherwise, names, parameters)
    if isinstance(value.get("Fn::Sub"), str):
        for name, given in parameters.items():
            value = {"Fn::Sub": value["Fn::Sub"].replace("${" + name + "}", str(given))}
        return value if "${" in value["Fn::Sub"] else value["Fn::Sub"]
    settled = {key: settle(item, names, parameters) for key, item in value.items()}
    if "Fn::Split" in settled:
        separator, text = settled["Fn::Split"]
        return text.split(separator) if isinstance(text, str) else settled
    if "Fn::Select" in settled and isinstance(settled["Fn::Select"][1], list):
        number, items = settled["Fn::Select"]
        return items[int(number)]
    if "Fn::Join" in settled:
        separator, parts = settled["Fn::Join"]
        is_known = all(isinstance(part, str) for part in parts)
        return separator.join(parts) if is_known else settled
    return {key: item for key, item in settled.items() if item != NO_VALUE}


def main(path, given):
    with open(path, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # What `sam package` would have put there.
            resource["Properties"]["CodeUri"] = "s3://bucket/key"

    parameters = {name: one.get("Default") for name, one in template["Parameters"].items()}
    unknown = set(given) - set(parameters)
    if unknown:
        raise ValueError(f"the template has no parameters {sorted(unknown)}")
    parameters.update(given)
    missing = [name for name, value in parameters.items() if value is None]
    if missing:
        raise ValueError(f"these parameters have no value: {missing}")

    expanded = transform(template, dict(parameters), NoManagedPolicies())

    for name, parameter in template["Parameters"].items():
        if parameter["Type"] == "CommaDelimitedList":
            parameters[name] = parameters[name].split(",")
    named = template["Conditions"]
    names = {name: holds(one, parameters, named) for name, one in named.items()}
    for section in ("Resources", "Outputs"):
        there = {
            name: one
            for name, one in expanded[section].items()
            if "Condition" not in one or names[one["Condition"]]
        }
        expanded[section] = settle(there, names, parameters)
    json.dump(expanded, sys.stdout, indent=2, default=str)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
