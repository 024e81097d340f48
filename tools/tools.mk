# Sources and rules of tools/.
