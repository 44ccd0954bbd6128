"""Whole networks in virtual time, repeatable from a seed.

Installed, this folder is `dhtchat.simulations`. Import siblings relatively and the product as `dhtchat...`; from inside
`dhtchat`, reach it with `dhtchat.companions.load("simulations")`.
"""
