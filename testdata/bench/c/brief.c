/* brief - a program that ends at once: what starter starts. */
int main(void)
{
	return 0;
}
