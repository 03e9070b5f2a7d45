"""The same API and worker as the users of other tools would write them. Not part of the product."""
